//! Settings that somebody set, as texts by name. Decides which of the stored ones hold; knows no setting by name.
//!
//! What a request brings is checked, and all of it must hold. What is stored was checked by the program that wrote it, which may have been
//! another version: a name or value that this one refuses must not keep a broker from starting. It is kept as it is, so that it can be
//! seen and put right, and the default holds in its place; but nothing is removed by a default that stands for such a text.

use std::collections::BTreeMap;

use crate::config::{ConfigError, Values};

/// A stored setting that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfit {
    /// Its text as it is stored.
    pub value: String,
    /// Why it does not hold.
    pub reason: ConfigError,
}

/// Settings of a topic or a broker.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Overrides {
    /// Known names, checked values.
    values: Values,
    unfit: BTreeMap<String, Unfit>,
}

/// Is this a setting, and this text a value of it?
type Checked = fn(&str, &str) -> Result<(), ConfigError>;

impl Overrides {
    /// Settings of which each must hold.
    pub(crate) fn checked(
        values: impl IntoIterator<Item = (String, String)>,
        check: Checked,
    ) -> Result<Self, ConfigError> {
        let mut checked = Values::new();
        for (name, value) in values {
            let value = value.trim().to_string();
            check(&name, &value)?;
            checked.insert(name, value);
        }
        Ok(Overrides { values: checked, unfit: BTreeMap::new() })
    }

    /// Settings as they are stored: those that do not hold are kept aside.
    pub(crate) fn stored(values: impl IntoIterator<Item = (String, String)>, check: Checked) -> Self {
        let mut stored = Overrides::default();
        for (name, value) in values {
            match check(&name, &value) {
                Ok(()) => drop(stored.values.insert(name, value)),
                Err(reason) => drop(stored.unfit.insert(name, Unfit { value, reason })),
            }
        }
        stored
    }

    /// The same with those of `before` that do not hold, save the ones that were just changed.
    #[must_use]
    pub(crate) fn keeping_unfit(mut self, before: &Overrides, changed: impl Fn(&str) -> bool) -> Self {
        let kept = before.unfit.iter().filter(|(name, _)| !changed(name));
        self.unfit.extend(kept.map(|(name, unfit)| (name.clone(), unfit.clone())));
        self
    }

    /// The value that holds.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Those that hold.
    pub(crate) fn values(&self) -> &Values {
        &self.values
    }

    /// Those that do not, ascending by name.
    pub(crate) fn unfit(&self) -> &BTreeMap<String, Unfit> {
        &self.unfit
    }

    /// All texts as they are stored, ascending by name.
    pub(crate) fn texts(&self) -> BTreeMap<String, String> {
        let unfit = self.unfit.iter().map(|(name, unfit)| (name.clone(), unfit.value.clone()));
        self.values.clone().into_iter().chain(unfit).collect()
    }

    /// Is nothing stored?
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.unfit.is_empty()
    }
}
