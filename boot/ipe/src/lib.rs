//! IPE policies: parse, render, bind, evaluate.
#![forbid(unsafe_code)]
