//! File capabilities in words, as `getcap` has them.
//!
//! Layout: `struct vfs_cap_data` and `vfs_ns_cap_data` of `include/uapi/linux/capability.h`.

/// The extended attribute.
pub(in crate::diff) const ATTRIBUTE: &[u8] = b"security.capability";

/// By their numbers.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// `cap_net_raw=ep`; what is none of the kernel's layouts, in hexadecimal.
pub(in crate::diff) fn words(value: &[u8]) -> String {
    parse(value).unwrap_or_else(|| graven_handoff::hex::encode(value))
}

fn parse(value: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u32::from_le_bytes(value.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let magic = word(0)?;
    let (pairs, length) = match magic >> 24 {
        1 => (1, 12),
        2 => (2, 20),
        3 => (2, 24),
        _ => return None,
    };
    if value.len() != length {
        return None;
    }
    let (mut permitted, mut inheritable) = (0u64, 0u64);
    for pair in 0..pairs {
        permitted |= u64::from(word(4 + 8 * pair)?) << (32 * pair);
        inheritable |= u64::from(word(8 + 8 * pair)?) << (32 * pair);
    }
    let effective = magic & 1 != 0;
    let mut words = Vec::new();
    for (is_permitted, is_inheritable) in [(true, false), (false, true), (true, true)] {
        let has = |set: u64, bit: usize| set >> bit & 1 != 0;
        let names: Vec<String> = (0..64)
            .filter(|bit| has(permitted, *bit) == is_permitted && has(inheritable, *bit) == is_inheritable)
            .map(|bit| NAMES.get(bit).map_or(format!("cap_{bit}"), |name| format!("cap_{name}")))
            .collect();
        if !names.is_empty() {
            let letters = [(effective, 'e'), (is_inheritable, 'i'), (is_permitted, 'p')];
            let letters: String =
                letters.into_iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect();
            words.push(format!("{}={letters}", names.join(",")));
        }
    }
    let owner = if magic >> 24 == 3 { format!(" [rootid={}]", word(20)?) } else { String::new() };
    Some(if words.is_empty() { "none".to_owned() } else { words.join(" ") } + &owner)
}
