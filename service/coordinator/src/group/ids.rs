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
