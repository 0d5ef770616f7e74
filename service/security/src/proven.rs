//! A memory of right passwords, so that who says the same one with each request is not checked the slow way each time. Decides whether
//! one has been proven lately; keeps no password, and reads no clock.
//!
//! What is kept of a proof is a hash under a key that only this process has, over the name, the password and the credential that it
//! fitted: who changes or loses the credential is at once not believed any more.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use subtle::ConstantTimeEq;
use tidelog_model::{Now, ScramCredential, ScramMechanism};

use crate::limits::{MAX_PROVEN, PROOF_LIFE};
use crate::scram::hmac;

/// The last right password of each of the users who came lately.
#[derive(Debug)]
pub struct Proven {
    key: [u8; 32],
    proofs: HashMap<String, Proof>,
    /// Names by the order of their proofs, the oldest first.
    order: BTreeMap<u64, String>,
    next: u64,
}

/// That somebody has said the right password.
#[derive(Debug)]
struct Proof {
    tag: Vec<u8>,
    /// Since the process began.
    at: Duration,
    order: u64,
}

/// What a proof of this name and password for this credential looks like.
#[derive(Clone, Debug)]
pub struct ProofTag(Vec<u8>);

impl Proven {
    /// An empty one. Nobody else may know the key.
    pub fn new(key: [u8; 32]) -> Self {
        Proven { key, proofs: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    /// What a proof would be kept as. Fast: tell it to nobody.
    pub fn tag(
        &self,
        user: &str,
        password: &[u8],
        mechanism: ScramMechanism,
        credential: &ScramCredential,
    ) -> ProofTag {
        let ScramCredential { salt, stored_key, server_key, iterations } = credential;
        // With their lengths: no two of them together may look like two others.
        let lengths = [user.len(), password.len(), salt.len(), stored_key.len(), server_key.len()];
        let lengths = lengths.map(|length| (length as u64).to_be_bytes()).concat();
        let numbers = [mechanism.code().to_be_bytes().as_slice(), &iterations.to_be_bytes()].concat();
        let parts = [&lengths, &numbers, user.as_bytes(), password, salt, stored_key, server_key];
        ProofTag(hmac(ScramMechanism::Sha256, &self.key, &parts))
    }

    /// Was this proven not long ago?
    pub fn knows(&self, now: Now, user: &str, tag: &ProofTag) -> bool {
        let Some(proof) = self.proofs.get(user) else { return false };
        let fits: bool = proof.tag.ct_eq(&tag.0).into();
        fits && now.monotonic.saturating_sub(proof.at) < PROOF_LIFE
    }

    /// It has been proven now. Who has proven nothing for longest is forgotten if there is no room.
    pub fn keep(&mut self, now: Now, user: &str, tag: ProofTag) {
        let order = self.next;
        self.next += 1;
        let proof = Proof { tag: tag.0, at: now.monotonic, order };
        if let Some(before) = self.proofs.insert(user.to_owned(), proof) {
            self.order.remove(&before.order);
        }
        self.order.insert(order, user.to_owned());
        if self.proofs.len() > MAX_PROVEN
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.proofs.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use tidelog_model::Timestamp;

    use super::*;

    const SHA256: ScramMechanism = ScramMechanism::Sha256;

    fn at(seconds: u64) -> Now {
        Now { monotonic: Duration::from_secs(seconds), wall: Timestamp(0) }
    }

    fn credential(salt: &[u8]) -> ScramCredential {
        ScramCredential { salt: salt.to_vec(), stored_key: vec![1; 32], server_key: vec![2; 32], iterations: 4096 }
    }

    #[test]
    fn what_was_proven_is_believed_and_nothing_like_it() {
        let mut proven = Proven::new([7; 32]);
        let stored = credential(b"salt");
        let tag = proven.tag("alice", b"pencil", SHA256, &stored);
        assert!(!proven.knows(at(0), "alice", &tag), "nothing is proven yet");
        proven.keep(at(0), "alice", tag.clone());
        assert!(proven.knows(at(1), "alice", &tag));
        let others = [
            proven.tag("alice", b"pencils", SHA256, &stored),
            proven.tag("alic", b"epencil", SHA256, &stored),
            proven.tag("alice", b"pencil", SHA256, &credential(b"sale")),
            proven.tag("alice", b"pencil", SHA256, &ScramCredential { iterations: 8192, ..stored.clone() }),
            proven.tag("alice", b"pencil", SHA256, &ScramCredential { stored_key: vec![3; 32], ..stored.clone() }),
            proven.tag("alice", b"pencil", ScramMechanism::Sha512, &stored),
            Proven::new([8; 32]).tag("alice", b"pencil", SHA256, &stored),
        ];
        for (n, other) in others.iter().enumerate() {
            assert!(!proven.knows(at(1), "alice", other), "{n}");
        }
        assert!(!proven.knows(at(1), "bob", &tag));
        assert!(!proven.knows(at(PROOF_LIFE.as_secs()), "alice", &tag), "it was long ago");
        let new = proven.tag("alice", b"new", SHA256, &stored);
        proven.keep(at(2), "alice", new.clone());
        assert!(
            proven.knows(at(2), "alice", &new) && !proven.knows(at(2), "alice", &tag),
            "one password has one proof"
        );
        assert_eq!((proven.proofs.len(), proven.order.len()), (1, 1));
    }

    #[test]
    fn who_was_proven_longest_ago_is_forgotten_first() {
        let mut proven = Proven::new([7; 32]);
        let stored = credential(b"salt");
        let name = |n: usize| format!("user-{n}");
        let tag = |proven: &Proven, n| proven.tag(&name(n), b"pencil", SHA256, &stored);
        for n in (0..MAX_PROVEN).chain([0, MAX_PROVEN]) {
            let tag = tag(&proven, n);
            proven.keep(at(0), &name(n), tag);
        }
        assert_eq!((proven.proofs.len(), proven.order.len()), (MAX_PROVEN, MAX_PROVEN));
        let knows = |n| proven.knows(at(0), &name(n), &tag(&proven, n));
        assert!(knows(0) && !knows(1) && knows(2) && knows(MAX_PROVEN));
    }
}
