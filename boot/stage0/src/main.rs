//! `/init` of a Graven initramfs: proves the chain from the kernel command line to the root's first program, or stops.
//!
//! It is the kernel's first process and the only one until it becomes the image's init. It reads nothing from a writable
//! disk before the root is verified and mounted, runs nothing, and never goes on after a failure.

// std's own start would abort where /dev/console cannot be opened; there is nothing it does that is needed here.
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::convert::Infallible;
use std::ffi::{c_char, c_int};

use crate::failure::Failure;

mod clock;
mod copy;
mod dm;
mod effects;
mod failure;
mod keyring;
mod leave;
mod line;
mod lockdown;
mod log;
mod modules;
mod mounts;
mod partitions;
mod plan;
mod policy;
mod pseudo;
mod root;
mod signature;
mod state;
mod sys;
mod verity;

// SAFETY: the C runtime calls exactly one function of this name and signature, and no other crate defines it.
#[cfg_attr(not(test), unsafe(export_name = "main"))]
#[cfg_attr(test, expect(dead_code))]
extern "C" fn start(_argc: c_int, _argv: *const *const c_char) -> c_int {
    failure::stop_on_panic();
    let Err(failure) = boot();
    failure.stop()
}

fn boot() -> Result<Infallible, Failure> {
    pseudo::be_the_first_process()?;
    pseudo::mount()?;
    log::step(1, "mounts");
    let plan = plan::read()?;
    failure::act_as(plan.on_failure);

    log::step(2, "command line and what it brought about");
    let binding = line::hold_against_signed(&plan)?;
    effects::check(&plan)?;

    log::step(3, "modules");
    modules::load(&plan)?;
    effects::secure_boot(&plan)?;

    log::step(4, &format!("verity, root hash {}", binding.root_hash));
    let found = partitions::wait_for(&plan, &binding)?;
    let keyring = keyring::Keyring;
    let device = verity::open_root(&plan, &binding.root_hash, &found, &keyring)?;
    let volumes = verity::open_volumes(&plan, &found, &keyring)?;

    log::step(5, &format!("policy {} {}", plan.policy.name, plan.policy.version));
    policy::enforce(&plan, &binding.policy)?;

    log::step(6, "root and other mounts");
    partitions::still_single(&plan, &binding)?;
    root::mount(&plan.root, &device)?;
    root::lets_run(&plan.init.path)?;
    mounts::mount_volumes(&plan, &volumes)?;
    clock::not_before(&plan)?;
    state::open(&plan, &binding, &found)?;
    mounts::mount(&plan, &found)?;
    state::bind(&plan)?;
    policy::succeed(&plan, &binding)?;

    log::step(7, "lockdown");
    lockdown::lock(&plan)?;

    log::step(8, &format!("init {}", plan.init.path));
    keyring.clear()?;
    leave::initramfs()?;
    leave::become_init(&plan.init)
}
