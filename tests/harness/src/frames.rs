//! Request frames of every API in every version, made from the layouts: the codec takes them, and what they ask for makes no sense.

#[path = "../../../service/protocol/tests/generate/mod.rs"]
mod generate;

use generate::{Chance, message, requests};

/// One frame for each API and version, without its length; the seed repeats them.
pub fn of_every_request(seed: u64) -> Vec<Vec<u8>> {
    let mut chance = Chance(seed);
    let mut frames = Vec::new();
    for (api, described) in requests() {
        for version in api.row().implemented.iter() {
            let mut frame = [api.code().to_be_bytes(), version.to_be_bytes()].concat();
            frame.extend(7i32.to_be_bytes());
            frame.extend(4i16.to_be_bytes());
            frame.extend(b"fuzz");
            if version >= api.row().first_flexible {
                frame.push(0);
            }
            frame.extend(message(&described, version, &mut chance));
            frames.push(frame);
        }
    }
    frames
}
