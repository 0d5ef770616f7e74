//! Names and numbers of groups: unlike ones do not mix.

use std::fmt;

use crate::name::name;

name!(
    /// A consumer group's id (`group.id`).
    GroupId
);
name!(
    /// A member's id, `<client id or instance id>-<uuid>`; the empty one is "not known yet".
    MemberId
);
name!(
    /// A static member's lasting name (`group.instance.id`, KIP-345).
    InstanceId
);

/// Counts the rebalances of a group; −1 is "none" (a consumer that does not use group management).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub i32);

impl Generation {
    /// A commit from outside of group management.
    pub const NONE: Generation = Generation(-1);

    /// The plain number.
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The generation after this one; after `i32::MAX` comes 0.
    #[must_use]
    pub const fn next(self) -> Generation {
        match self.0.checked_add(1) {
            Some(next) if next >= 0 => Generation(next),
            _ => Generation(0),
        }
    }
}

/// Counts the states of a group of the consumer protocol (KIP-848). A member's epoch is that of the target assignment which it has
/// reached, or one of the constants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i32);

impl Epoch {
    /// A member that joins, or joins anew.
    pub const JOIN: Epoch = Epoch(0);
    /// A member that leaves.
    pub const LEAVE: Epoch = Epoch(-1);
    /// A static member that leaves and will be back.
    pub const LEAVE_FOR_NOW: Epoch = Epoch(-2);

    /// The plain number.
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The epoch after this one; a group's first is 2, as in Kafka 4.3.
    #[must_use]
    pub const fn next(self) -> Epoch {
        if self.0 < 1 { Epoch(2) } else { Epoch(self.0.saturating_add(1)) }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
