//! What an operator is told of what was not taken over. Decides how much of it; never shows a value, which may be a secret.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::limits::MAX_NAMES_TOLD;

/// Sentences, each with the names that it is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    sentences: BTreeMap<&'static str, (Vec<String>, usize)>,
}

impl Told {
    /// Adds a name to a sentence.
    pub(super) fn tell(&mut self, sentence: &'static str, name: impl Display) {
        let (names, more) = self.sentences.entry(sentence).or_default();
        if names.len() < MAX_NAMES_TOLD {
            let mut name = name.to_string();
            name.truncate(name.floor_char_boundary(200));
            names.push(name);
        } else {
            *more += 1;
        }
    }

    /// The same with all of another.
    #[must_use]
    pub fn with(mut self, other: Told) -> Told {
        for (sentence, (names, more)) in other.sentences {
            for name in names {
                self.tell(sentence, name);
            }
            self.sentences.entry(sentence).or_default().1 += more;
        }
        self
    }

    /// Is there nothing to tell?
    pub fn is_empty(&self) -> bool {
        self.sentences.is_empty()
    }

    /// One line for each sentence.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.sentences.iter().map(|(sentence, (names, more))| {
            let more = if *more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{sentence}: {}{more}", names.join(", "))
        })
    }
}
