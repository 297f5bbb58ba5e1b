//! Step 6: the clock of a machine without a battery.

use graven_handoff::{Code, Plan};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use crate::failure::{Failure, OrFail};
use crate::log;

/// No boot is earlier than the newest thing in its image: certificates would not be valid yet, files from the future.
pub(crate) fn not_before(plan: &Plan) -> Result<(), Failure> {
    let earliest = i64::try_from(plan.clock_not_before).or_fail(Code::Clock, "clock-not-before")?;
    let now = clock_gettime(ClockId::Realtime).tv_sec;
    if now >= earliest {
        return Ok(());
    }
    log::note(&format!("the clock says {now} s since 1970; set to {earliest}, when the image was made"));
    clock_settime(ClockId::Realtime, Timespec { tv_sec: earliest, tv_nsec: 0 }).or_fail(Code::Clock, earliest)
}
