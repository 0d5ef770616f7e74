//! Random valid messages made from the layouts, without using the encoder under test. Shared with `tests/oracle` and `tests/harness`.

#![allow(dead_code, unreachable_pub)]

use bytes::Bytes;
use tidelog_protocol::messages::*;
use tidelog_protocol::{ApiKey, DecodeError, EncodeError, FieldLayout, Layout, Message, Versions, each_api};

/// A message type with its generics erased.
pub struct Described {
    pub name: &'static str,
    pub versions: Versions,
    pub first_flexible: i16,
    pub layout: Layout,
    /// Decodes and encodes again.
    pub round_trip: fn(Bytes, i16) -> Result<Bytes, DecodeError>,
    /// Decodes in the first version and encodes in the second.
    pub convert: fn(Bytes, i16, i16) -> Result<Bytes, EncodeError>,
    /// Decodes and formats with `{:?}`.
    pub debug: fn(Bytes, i16) -> Result<String, DecodeError>,
}

fn described<M: Message + std::fmt::Debug>() -> Described {
    Described {
        name: M::NAME,
        versions: M::VERSIONS,
        first_flexible: M::FIRST_FLEXIBLE,
        layout: M::LAYOUT,
        round_trip: |bytes, version| {
            M::from_bytes(bytes, version).map(|message| message.to_bytes(version).expect("decoded messages encode"))
        },
        convert: |bytes, from, to| M::from_bytes(bytes, from).expect("a valid message").to_bytes(to),
        debug: |bytes, version| M::from_bytes(bytes, version).map(|message| format!("{message:?}")),
    }
}

macro_rules! messages {
    ($($name:ident: $request:ident => $response:ident;)*) => {
        vec![$(described::<$request>(), described::<$response>()),*]
    };
}

/// Every message of the crate: those of the API table, and what members of a classic group are told.
pub fn all() -> Vec<Described> {
    let mut all = each_api!(messages);
    all.push(described::<ConsumerProtocolAssignment>());
    all
}

/// The request of each API of the table.
pub fn requests() -> Vec<(ApiKey, Described)> {
    macro_rules! requests {
        ($($name:ident: $request:ident => $response:ident;)*) => { vec![$((ApiKey::$name, described::<$request>())),*] };
    }
    each_api!(requests)
}

/// SplitMix64: the same seed gives the same messages everywhere.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// The bytes of a random valid message.
pub fn message(described: &Described, version: i16, chance: &mut Chance) -> Bytes {
    let flexible = version >= described.first_flexible;
    let mut maker = Maker { version, flexible, chance, out: Vec::new() };
    maker.value(&described.layout, false, false);
    Bytes::from(maker.out)
}

struct Maker<'a> {
    version: i16,
    flexible: bool,
    chance: &'a mut Chance,
    out: Vec<u8>,
}

impl Maker<'_> {
    /// `null`: may be null. `solid`: must not be anything that could be a default.
    fn value(&mut self, layout: &Layout, null: bool, solid: bool) {
        match layout {
            Layout::Bool => {
                let bit = if solid { 1 } else { self.chance.below(2) };
                self.out.push(bit as u8);
            }
            Layout::Fixed(size) => {
                let start = self.out.len();
                for _ in 0..*size {
                    let byte = self.chance.next() as u8;
                    self.out.push(byte);
                }
                if solid {
                    self.out[start] = 1 + self.out[start] % 0x70;
                }
            }
            Layout::Text => {
                let text = self.text(solid);
                self.length(Some(text.len()), true);
                self.out.extend(text.as_bytes());
            }
            Layout::Bytes => {
                let length = self.size(solid);
                self.length(Some(length), false);
                for _ in 0..length {
                    let byte = self.chance.next() as u8;
                    self.out.push(byte);
                }
            }
            Layout::Array(element) => {
                let count = usize::from(solid) + self.chance.below(4);
                self.length(Some(count), false);
                for _ in 0..count {
                    self.value(element, false, false);
                }
            }
            Layout::Nullable(inner) => {
                let is_null = null && !solid && self.chance.one_in(4);
                match (inner, is_null) {
                    (Layout::Struct { .. }, true) => self.out.push(0xff),
                    (Layout::Struct { .. }, false) => {
                        self.out.push(1);
                        self.value(inner, false, solid);
                    }
                    (_, true) => self.length(None, matches!(inner, Layout::Text)),
                    (_, false) => self.value(inner, false, solid),
                }
            }
            Layout::Struct { fields, .. } => self.structure(fields, solid),
        }
    }

    fn structure(&mut self, fields: &[FieldLayout], solid: bool) {
        let version = self.version;
        for field in fields.iter().filter(|field| field.field.in_order(version)) {
            self.value(field.layout, field.field.may_be_null(version), solid);
        }
        if !self.flexible {
            return;
        }
        let mut tags: Vec<(u32, Vec<u8>)> = Vec::new();
        for field in fields {
            if let Some(tag) = field.field.tagged(self.version)
                && self.chance.one_in(2)
            {
                let outer = std::mem::take(&mut self.out);
                self.value(field.layout, false, true);
                tags.push((tag, std::mem::replace(&mut self.out, outer)));
            }
        }
        for (odds, tag) in [(16, 60), (32, 70_000)] {
            if self.chance.one_in(odds) {
                let length = self.chance.below(200);
                tags.push((tag, vec![tag as u8; length]));
            }
        }
        self.varint(tags.len() as u32);
        for (tag, value) in tags {
            self.varint(tag);
            self.varint(value.len() as u32);
            self.out.extend(value);
        }
    }

    fn size(&mut self, solid: bool) -> usize {
        let size = if self.chance.one_in(30) { self.chance.below(6_000) } else { self.chance.below(12) };
        size.max(usize::from(solid))
    }

    fn text(&mut self, solid: bool) -> String {
        let alphabet = ['a', 'b', 'Z', '0', '.', '-', '_', ' ', 'é', '漢', '🌊'];
        let length = self.size(solid);
        (0..length).map(|_| alphabet[self.chance.below(alphabet.len())]).collect()
    }

    fn length(&mut self, length: Option<usize>, text: bool) {
        match (self.flexible, length) {
            (true, length) => self.varint(length.map_or(0, |length| length as u32 + 1)),
            (false, Some(length)) if text => self.out.extend((length as i16).to_be_bytes()),
            (false, Some(length)) => self.out.extend((length as i32).to_be_bytes()),
            (false, None) if text => self.out.extend([0xff; 2]),
            (false, None) => self.out.extend([0xff; 4]),
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value > 0x7f {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

/// A copy with a few random injuries, lengths preferred.
pub fn injured(bytes: &[u8], chance: &mut Chance) -> Bytes {
    let mut bytes = bytes.to_vec();
    for _ in 0..=chance.below(3) {
        let at = chance.below(bytes.len() + 1);
        match chance.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.splice(at..at, [0x7f, 0xff, 0xff, 0xff]).for_each(drop),
            2 => bytes.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x0f]).for_each(drop),
            3 => bytes.extend(vec![chance.next() as u8; 9]),
            _ => {
                let value = [0, 1, 0x7f, 0x80, 0xff, chance.next() as u8][chance.below(6)];
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
        }
    }
    Bytes::from(bytes)
}
