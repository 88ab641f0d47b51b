//! The name of this machine, for people who read who holds a group.

/// The name of the machine, for people who read an intent. The standard library has no call for it; an unknown name is
/// left out.
pub(super) fn machine_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME")).ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.chars().take(64).collect())
}
