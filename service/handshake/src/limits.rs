//! Limits of TLS handshakes, each with its reason. They hold at each door for itself.

use std::time::Duration;

/// Handshakes at once. Each holds some 8 KiB and takes half a millisecond of a core with a key of P-256 (measured by `tests/cost.rs`: 8,142
/// bytes and 0.5 ms in a debug build), and 64 KiB more if a client makes its messages as long as TLS lets it: all together are usually
/// 4 MiB and a quarter of a second, and 36 MiB at worst.
pub const MAX_HANDSHAKES: usize = 500;

/// Handshakes at once of one address: it leaves three quarters to all others.
pub const MAX_HANDSHAKES_OF_ONE: usize = MAX_HANDSHAKES / 4;

/// A handshake may take this long from connecting: three round trips of a slow network, and no more of a stranger's time.
pub const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// A place may be held this long while somebody waits for one: whoever stalls on purpose does not keep others out.
pub const PLACE_PATIENCE: Duration = Duration::from_secs(2);

/// A client's first bytes must come within this time: they are on their way when the connection stands, and two may be lost.
pub const SILENCE_PATIENCE: Duration = Duration::from_secs(5);

/// Connections of one address that may have said nothing yet, beyond a moment: each takes a descriptor and one of the door's connections.
pub const MAX_SILENT_OF_ONE: usize = 200;

/// That moment: what arrives in a burst is not silent, only not read yet.
pub const SILENCE_GRACE: Duration = Duration::from_secs(1);

/// How often it is looked at whether others wait: a fraction of what they wait for.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
