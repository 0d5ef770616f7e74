//! Settings that somebody set, as texts by name. Decides which of the stored ones hold; knows no setting by name.
//!
//! What a request brings is checked, and all of it must hold. What is stored was checked by the program that wrote it, which may have been
//! another version: a name or value that this one refuses must not keep a broker from starting. It is kept as it is, so that it can be
//! seen and put right, and the default holds in its place; but nothing is removed by a default that stands for such a text.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use crate::config::{ConfigDef, ConfigError, Values};

/// A stored setting that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfit {
    /// Its text as it is stored.
    pub value: String,
    /// Why it does not hold.
    pub reason: ConfigError,
}

/// Which settings these are: a topic's, a broker's, a group's.
pub trait Settings {
    /// The setting of this name, if there is one.
    fn def(name: &str) -> Option<&'static ConfigDef>;

    /// Is this a setting, and this text a value of it?
    fn check(name: &str, value: &str) -> Result<(), ConfigError>;
}

/// What one topic, broker or group sets: known names, checked values, and stored ones that do not hold.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Overrides<Of> {
    values: Values,
    unfit: BTreeMap<String, Unfit>,
    of: PhantomData<Of>,
}

/// Secrets are shown to nobody.
impl<Of: Settings> fmt::Debug for Overrides<Of> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = self.texts();
        f.debug_map().entries(texts.iter().map(|(name, value)| (name, Self::told(name, value)))).finish()
    }
}

fn is_secret<Of: Settings>(name: &str) -> bool {
    Of::def(name).is_some_and(ConfigDef::is_secret)
}

impl<Of: Settings> Overrides<Of> {
    /// Checks names and values one by one; what they must be together is another question.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut checked = Values::new();
        for (name, value) in values {
            let value = Self::checked(&name, &value)?;
            checked.insert(name, value);
        }
        Ok(Overrides { values: checked, unfit: BTreeMap::new(), of: PhantomData })
    }

    fn checked(name: &str, value: &str) -> Result<String, ConfigError> {
        let value = value.trim();
        Of::check(name, value)?;
        Ok(Of::def(name).map_or_else(|| value.to_owned(), |def| def.normal(value)))
    }

    /// What is stored, by whichever version: a name or value that this one refuses is kept and does not hold.
    pub fn stored(stored: impl IntoIterator<Item = (String, String)>) -> Self {
        let (mut values, mut unfit) = (Values::new(), BTreeMap::new());
        for (name, value) in stored {
            match Self::checked(&name, &value) {
                Ok(value) => drop(values.insert(name, value)),
                Err(reason) => drop(unfit.insert(name, Unfit { value, reason })),
            }
        }
        Overrides { values, unfit, of: PhantomData }
    }

    /// The same with what does not hold of `before`, save the settings that were just changed.
    #[must_use]
    pub(crate) fn keeping_unfit(mut self, before: &Self, changed: impl Fn(&str) -> bool) -> Self {
        let kept = before.unfit.iter().filter(|(name, _)| !changed(name));
        self.unfit.extend(kept.map(|(name, unfit)| (name.clone(), unfit.clone())));
        self
    }

    /// The own value of a setting.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Names and values that hold, ascending by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What the log may say of a stored value.
    pub fn told<'a>(name: &str, value: &'a str) -> &'a str {
        if is_secret::<Of>(name) { "(hidden)" } else { value }
    }

    /// What is stored and does not hold, ascending by name.
    pub fn unfit(&self) -> impl Iterator<Item = (&str, &Unfit)> {
        self.unfit.iter().map(|(name, unfit)| (name.as_str(), unfit))
    }

    /// Those that hold.
    pub(crate) fn values(&self) -> &Values {
        &self.values
    }

    /// Those that do not.
    pub(crate) fn unfit_ones(&self) -> &BTreeMap<String, Unfit> {
        &self.unfit
    }

    /// Everything as it is stored, ascending by name.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let unfit = self.unfit.iter().map(|(name, unfit)| (name.clone(), unfit.value.clone()));
        self.values.clone().into_iter().chain(unfit).collect()
    }

    /// Is nothing stored?
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.unfit.is_empty()
    }
}
