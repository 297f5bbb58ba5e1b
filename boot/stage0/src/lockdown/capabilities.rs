//! `CAP_MAC_ADMIN`: whoever holds it loads policies and switches enforcement off.

use graven_handoff::Code;
use rustix::thread::{
    CapabilitySet, capabilities, capability_is_in_ambient_set, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};

use crate::failure::{Failure, OrFail};

/// Takes it out of all five sets of this process, and so of everything that it becomes or starts.
pub(super) fn drop_mac_admin() -> Result<(), Failure> {
    const CODE: Code = Code::Capabilities;
    let gone = CapabilitySet::MAC_ADMIN;
    clear_ambient_capability_set().or_fail(CODE, "ambient set")?;
    remove_capability_from_bounding_set(gone).or_fail(CODE, "bounding set")?;
    let mut sets = capabilities(None).or_fail(CODE, "capget")?;
    sets.effective.remove(gone);
    sets.permitted.remove(gone);
    sets.inheritable.remove(gone);
    set_capabilities(None, sets).or_fail(CODE, "capset")?;

    let sets = capabilities(None).or_fail(CODE, "capget")?;
    let kept = [
        ("effective", sets.effective.contains(gone)),
        ("permitted", sets.permitted.contains(gone)),
        ("inheritable", sets.inheritable.contains(gone)),
        ("bounding", capability_is_in_bounding_set(gone).or_fail(CODE, "bounding set")?),
        ("ambient", capability_is_in_ambient_set(gone).or_fail(CODE, "ambient set")?),
    ];
    match kept.iter().find(|(_, kept)| *kept) {
        None => Ok(()),
        Some((set, _)) => Err(Failure::new(CODE, format!("it is still in the {set} set"))),
    }
}
