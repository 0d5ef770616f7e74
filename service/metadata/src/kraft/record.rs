//! KRaft's records, as far as they say something that is taken over. Decides what one record says; keeps nothing.
//!
//! A record's value is: frame version (unsigned varint, 1) · kind (unsigned varint) · version of the kind (unsigned varint) · the fields in
//! Kafka's flexible notation. Kinds and fields are Kafka 4.3's `metadata/*.json`. A kind that matters in a newer version is refused, for
//! nobody knows what else it says; a kind that nobody knows is counted.

use tidelog_model::TopicId;
use tidelog_record::fields::{FieldError, Reader};
use uuid::Uuid;

/// The frame's only version.
const FRAME: u32 = 1;

/// Why a record was not understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KraftError {
    /// The bytes do not follow the format.
    #[error("a record of kind {0} does not follow its format")]
    Malformed(u32),
    /// The value begins with another frame.
    #[error("a record is not framed as metadata")]
    Frame,
    /// A newer Kafka wrote it.
    #[error("a record of kind {kind} has version {version}; this program knows versions up to {known}")]
    Version {
        /// The kind.
        kind: u32,
        /// Its version.
        version: u32,
        /// The newest that is known.
        known: u32,
    },
    /// All that the records say together is more than is believed.
    #[error("the metadata takes more than {0} bytes")]
    TooMuch(usize),
}

/// What a record says.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Said {
    Topic {
        id: TopicId,
        name: String,
    },
    Partition {
        id: TopicId,
        index: i32,
        replicas: Vec<i32>,
        directories: Vec<TopicId>,
        leader_epoch: i32,
    },
    PartitionChange(PartitionChange),
    RemoveTopic(TopicId),
    Config {
        resource: i8,
        name: String,
        setting: String,
        value: Option<String>,
    },
    DelegationToken {
        id: String,
        token: KraftToken,
    },
    RemoveDelegationToken(String),
    Scram {
        user: String,
        mechanism: i8,
        credential: KraftScram,
    },
    RemoveScram {
        user: String,
        mechanism: i8,
    },
    Feature {
        name: String,
        level: i16,
    },
    Quota {
        entity: KraftEntity,
        name: String,
        value: Option<f64>,
    },
    ProducerIds {
        next: i64,
    },
    Acl {
        id: Uuid,
        rule: KraftAcl,
    },
    RemoveAcl(Uuid),
    Controller(i32),
    Begin,
    End,
    Abort,
    /// Known, and of no use here.
    Aside,
    /// Of a kind that a newer Kafka has.
    Unknown(u32),
}

/// What of a partition changes; the rest stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PartitionChange {
    pub(super) id: TopicId,
    pub(super) index: i32,
    pub(super) replicas: Option<Vec<i32>>,
    pub(super) directories: Option<Vec<TopicId>>,
    /// There was an election.
    pub(super) elected: bool,
}

/// The types and names of a quota's entity; no name is the default.
pub type KraftEntity = Vec<(String, Option<String>)>;

/// A delegation token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KraftToken {
    /// Whoever logs in with it is this one.
    pub owner: String,
    /// Who asked for it.
    pub requester: String,
    /// Who may renew it beside its owner.
    pub renewers: Vec<String>,
    /// When it was made, ms.
    pub issued: i64,
    /// When it ends in any case, ms.
    pub ends: i64,
    /// When it ends unless it is renewed, ms.
    pub expires: i64,
}

/// What is kept of a user's password.
#[derive(Clone, PartialEq, Eq)]
pub struct KraftScram {
    /// The salt.
    pub salt: Vec<u8>,
    /// Checks the client's proof.
    pub stored_key: Vec<u8>,
    /// Proves that the server knows the credential.
    pub server_key: Vec<u8>,
    /// Rounds of PBKDF2.
    pub iterations: i32,
}

impl std::fmt::Debug for KraftScram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys never reach a log.
        write!(f, "KraftScram({} iterations)", self.iterations)
    }
}

/// An access rule in Kafka's numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KraftAcl {
    /// The kind of resource.
    pub resource: i8,
    /// Its name.
    pub name: String,
    /// How the name is meant.
    pub pattern: i8,
    /// Whom it is about.
    pub principal: String,
    /// From where.
    pub host: String,
    /// What it is about.
    pub operation: i8,
    /// Whether it gives or takes.
    pub permission: i8,
}

/// The kinds of records, and which versions of them are read.
mod kind {
    pub(super) const TOPIC: u32 = 2;
    pub(super) const PARTITION: u32 = 3;
    pub(super) const CONFIG: u32 = 4;
    pub(super) const PARTITION_CHANGE: u32 = 5;
    pub(super) const REMOVE_TOPIC: u32 = 9;
    pub(super) const DELEGATION_TOKEN: u32 = 10;
    pub(super) const SCRAM: u32 = 11;
    pub(super) const FEATURE: u32 = 12;
    pub(super) const QUOTA: u32 = 14;
    pub(super) const PRODUCER_IDS: u32 = 15;
    pub(super) const ACL: u32 = 18;
    pub(super) const REMOVE_ACL: u32 = 19;
    pub(super) const REMOVE_SCRAM: u32 = 22;
    pub(super) const BEGIN: u32 = 23;
    pub(super) const END: u32 = 24;
    pub(super) const ABORT: u32 = 25;
    pub(super) const REMOVE_TOKEN: u32 = 26;
    pub(super) const CONTROLLER: u32 = 27;
    /// Brokers that register, leave or are fenced; marks without content; in-sync replicas; the migration from ZooKeeper.
    pub(super) const ASIDE: &[u32] = &[0, 1, 7, 8, 17, 20, 21, 28];

    /// The newest version of a kind that is read; `None` for other kinds.
    pub(super) const fn newest(kind: u32) -> Option<u32> {
        match kind {
            PARTITION | PARTITION_CHANGE => Some(2),
            // Only the number in front is read.
            CONTROLLER => Some(u32::MAX),
            TOPIC | CONFIG | REMOVE_TOPIC | DELEGATION_TOKEN | SCRAM | FEATURE | QUOTA | PRODUCER_IDS | ACL => Some(0),
            REMOVE_ACL | REMOVE_SCRAM | BEGIN | END | ABORT | REMOVE_TOKEN => Some(0),
            _ => None,
        }
    }
}

/// Reads a record's value.
pub(super) fn read(value: &[u8]) -> Result<Said, KraftError> {
    let mut from = Reader::new(value);
    let header = (from.unsigned(), from.unsigned(), from.unsigned());
    let (Ok(FRAME), Ok(kind), Ok(version)) = header else { return Err(KraftError::Frame) };
    if kind::ASIDE.contains(&kind) {
        return Ok(Said::Aside);
    }
    let Some(known) = kind::newest(kind) else { return Ok(Said::Unknown(kind)) };
    if version > known {
        return Err(KraftError::Version { kind, version, known });
    }
    let said = fields(kind, version, &mut from).map_err(|_| KraftError::Malformed(kind))?;
    if from.is_at_end() { Ok(said) } else { Err(KraftError::Malformed(kind)) }
}

fn fields(kind: u32, version: u32, from: &mut Reader<'_>) -> Result<Said, FieldError> {
    let said = match kind {
        kind::TOPIC => {
            let name = text(from)?;
            Said::Topic { id: from.uuid()?, name }
        }
        kind::PARTITION => return partition(version, from),
        kind::PARTITION_CHANGE => return partition_change(from),
        kind::CONFIG => {
            Said::Config { resource: from.i8()?, name: text(from)?, setting: text(from)?, value: nullable_text(from)? }
        }
        kind::REMOVE_TOPIC => Said::RemoveTopic(from.uuid()?),
        kind::DELEGATION_TOKEN => {
            let token = KraftToken {
                owner: text(from)?,
                requester: text(from)?,
                renewers: from.array_of(text)?,
                issued: from.i64()?,
                ends: from.i64()?,
                expires: from.i64()?,
            };
            Said::DelegationToken { id: text(from)?, token }
        }
        kind::REMOVE_TOKEN => Said::RemoveDelegationToken(text(from)?),
        kind::SCRAM => Said::Scram {
            user: text(from)?,
            mechanism: from.i8()?,
            credential: KraftScram {
                salt: from.compact_bytes()?.to_vec(),
                stored_key: from.compact_bytes()?.to_vec(),
                server_key: from.compact_bytes()?.to_vec(),
                iterations: from.i32()?,
            },
        },
        kind::REMOVE_SCRAM => Said::RemoveScram { user: text(from)?, mechanism: from.i8()? },
        kind::FEATURE => Said::Feature { name: text(from)?, level: from.i16()? },
        kind::QUOTA => return quota(from),
        kind::PRODUCER_IDS => {
            let (_broker, _epoch) = (from.i32()?, from.i64()?);
            Said::ProducerIds { next: from.i64()? }
        }
        kind::ACL => {
            let id = uuid(from)?;
            let rule = KraftAcl {
                resource: from.i8()?,
                name: text(from)?,
                pattern: from.i8()?,
                principal: text(from)?,
                host: text(from)?,
                operation: from.i8()?,
                permission: from.i8()?,
            };
            Said::Acl { id, rule }
        }
        kind::REMOVE_ACL => Said::RemoveAcl(uuid(from)?),
        kind::CONTROLLER => return controller(from),
        kind::BEGIN => Said::Begin,
        kind::END => Said::End,
        kind::ABORT => Said::Abort,
        _ => Said::Unknown(kind),
    };
    from.tagged()?;
    Ok(said)
}

fn text(from: &mut Reader<'_>) -> Result<String, FieldError> {
    from.compact_string().map(str::to_owned)
}

fn nullable_text(from: &mut Reader<'_>) -> Result<Option<String>, FieldError> {
    Ok(from.compact_nullable_string()?.map(str::to_owned))
}

fn uuid(from: &mut Reader<'_>) -> Result<Uuid, FieldError> {
    Ok(Uuid::from_bytes(from.uuid()?.bytes()))
}

fn partition(version: u32, from: &mut Reader<'_>) -> Result<Said, FieldError> {
    let (index, id) = (from.i32()?, from.uuid()?);
    let replicas = from.array_of(Reader::i32)?;
    for _in_sync_removing_adding in 0..3 {
        from.array_of(Reader::i32)?;
    }
    let (_leader, leader_epoch, _epoch) = (from.i32()?, from.i32()?, from.i32()?);
    let directories = if version >= 1 { from.array_of(Reader::uuid)? } else { Vec::new() };
    from.tagged()?;
    Ok(Said::Partition { id, index, replicas, directories, leader_epoch })
}

fn partition_change(from: &mut Reader<'_>) -> Result<Said, FieldError> {
    /// The leader stays.
    const SAME_LEADER: i32 = -2;
    let (index, id) = (from.i32()?, from.uuid()?);
    let mut change = PartitionChange { id, index, replicas: None, directories: None, elected: false };
    for (tag, mut field) in from.tagged()? {
        match tag {
            1 => change.elected = field.i32()? != SAME_LEADER,
            2 => change.replicas = Some(field.array_of(Reader::i32)?).filter(|list| !list.is_empty()),
            8 => change.directories = Some(field.array_of(Reader::uuid)?).filter(|list| !list.is_empty()),
            _ => {}
        }
    }
    Ok(Said::PartitionChange(change))
}

fn quota(from: &mut Reader<'_>) -> Result<Said, FieldError> {
    let entity = from.array_of(|from| {
        let part = (text(from)?, nullable_text(from)?);
        from.tagged()?;
        Ok(part)
    })?;
    let (name, value, removed) = (text(from)?, from.f64()?, from.i8()? != 0);
    from.tagged()?;
    Ok(Said::Quota { entity, name, value: (!removed).then_some(value) })
}

/// Of a controller only the number matters: the rest is read by nobody.
fn controller(from: &mut Reader<'_>) -> Result<Said, FieldError> {
    let id = from.i32()?;
    from.skip_rest();
    Ok(Said::Controller(id))
}
