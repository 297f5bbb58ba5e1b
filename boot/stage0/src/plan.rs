//! The plan, from the initramfs.

use graven_handoff::{Code, Plan, initramfs};

use crate::failure::{Failure, OrFail};
use crate::log;

pub(crate) fn read() -> Result<Plan, Failure> {
    let text = std::fs::read_to_string(initramfs::PLAN).or_fail(Code::Plan, initramfs::PLAN)?;
    let plan = Plan::parse(&text).or_fail(Code::Plan, initramfs::PLAN)?;
    log::note(&format!("image {}", plan.image));
    for relaxed in &plan.relaxed {
        log::warning(&format!("the recipe relaxes {}: {}", relaxed.what, relaxed.reason));
    }
    Ok(plan)
}
