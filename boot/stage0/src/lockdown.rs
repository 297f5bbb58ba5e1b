//! Step 7: what nobody may do any more. Strict unless the plan relaxes a part by name.

use graven_handoff::{Code, Hardening, Plan, Relaxation};

use crate::failure::{Failure, OrFail};
use crate::sys::{self, PrctlOperation};

mod capabilities;
mod filter;
mod settings;

/// Each part is read back after it was set.
pub(crate) fn lock(plan: &Plan) -> Result<(), Failure> {
    // First: the kernel's helpers escape everything below.
    if !plan.relaxes(Relaxation::Usermodehelper) {
        settings::helpers(plan.relaxes(Relaxation::ModuleAutoload))?;
    }
    if !plan.relaxes(Relaxation::Ptrace) {
        settings::set("/proc/sys/kernel/yama/ptrace_scope", "3")?;
    }
    if !plan.relaxes(Relaxation::Memfd) {
        settings::set("/proc/sys/vm/memfd_noexec", "2")?;
    }
    if !plan.relaxes(Relaxation::Kexec) {
        settings::set_where_there_is("/proc/sys/kernel/kexec_load_disabled", "1")?;
    }
    if plan.hardens(Hardening::ModulesDisabled) {
        settings::set("/proc/sys/kernel/modules_disabled", "1")?;
    }
    if !plan.relaxes(Relaxation::MacAdmin) {
        capabilities::drop_mac_admin()?;
    }
    if !plan.relaxes(Relaxation::Mdwe) {
        refuse_write_then_execute()?;
    }
    if plan.hardens(Hardening::ExecSecurebits) {
        exec_securebits()?;
    }
    // Last, so that a mistake in the filter cannot stand in the way of the others.
    if !plan.relaxes(Relaxation::DeviceMapper) {
        filter::refuse_device_mapper()?;
    }
    Ok(())
}

/// `PR_SET_MDWE`: kept over fork and exec, never taken back.
fn refuse_write_then_execute() -> Result<(), Failure> {
    const REFUSE_EXEC_GAIN: i64 = 1;
    sys::prctl(PrctlOperation::SetMdwe, 1).or_fail(Code::WriteExecute, "PR_SET_MDWE")?;
    match sys::prctl(PrctlOperation::GetMdwe, 0).or_fail(Code::WriteExecute, "PR_GET_MDWE")? {
        REFUSE_EXEC_GAIN => Ok(()),
        found => Err(Failure::new(Code::WriteExecute, format!("PR_GET_MDWE: expected 1, found {found}"))),
    }
}

/// Interpreters that know them run only what the kernel would execute, and nothing typed in or piped to them.
fn exec_securebits() -> Result<(), Failure> {
    // EXEC_RESTRICT_FILE, EXEC_DENY_INTERACTIVE and the locks of both (`include/uapi/linux/securebits.h`).
    const BITS: i64 = 0xf00;
    let code = Code::ExecSecurebits;
    let before = sys::prctl(PrctlOperation::GetSecurebits, 0).or_fail(code, "PR_GET_SECUREBITS")?;
    let wanted = u64::try_from(before | BITS).or_fail(code, "securebits")?;
    sys::prctl(PrctlOperation::SetSecurebits, wanted).or_fail(code, "PR_SET_SECUREBITS")?;
    match sys::prctl(PrctlOperation::GetSecurebits, 0).or_fail(code, "PR_GET_SECUREBITS")? {
        found if found & BITS == BITS => Ok(()),
        found => Err(Failure::new(code, format!("expected {BITS:#x}, found {found:#x}"))),
    }
}
