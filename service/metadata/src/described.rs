//! A setting as DescribeConfigs answers it: its value with everything that is set of it, the winning one first.

use std::collections::BTreeMap;

use crate::config::{ConfigDef, ConfigError, ConfigSource};
use crate::overrides::Unfit;

/// DescribeConfigs' code of a setting whose type is not known.
const UNKNOWN_TYPE: i8 = 0;

/// One value with its origin, as DescribeConfigs lists synonyms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synonym {
    /// The name under which it is set.
    pub name: String,
    /// The value.
    pub value: Option<String>,
    /// Where it is set.
    pub source: ConfigSource,
}

impl Synonym {
    pub(crate) fn new(name: &str, value: &str, source: ConfigSource) -> Self {
        Synonym { name: name.to_string(), value: Some(value.to_string()), source }
    }
}

/// One setting as DescribeConfigs answers it.
#[derive(Clone, PartialEq, Debug)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// The setting; `None` for one that is stored under a name that nobody knows.
    pub def: Option<&'static ConfigDef>,
    /// Its value now; of one that does not hold, the stored text.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// True if it cannot be changed while the broker runs.
    pub read_only: bool,
    /// Every value that is set anywhere, the winning one first, the default last.
    pub synonyms: Vec<Synonym>,
    /// Why the stored text does not hold; the second synonym, or the default, does.
    pub unfit: Option<ConfigError>,
}

impl Described {
    /// A setting with everything that is set of it, the winning value first.
    pub(crate) fn new(def: &'static ConfigDef, synonyms: Vec<Synonym>, read_only: bool) -> Self {
        let first = synonyms.first();
        Described {
            name: def.name.to_string(),
            def: Some(def),
            value: first.map_or_else(|| def.default.map(str::to_string), |synonym| synonym.value.clone()),
            source: first.map_or(ConfigSource::Default, |synonym| synonym.source),
            read_only,
            synonyms,
            unfit: None,
        }
    }

    /// The same with a stored text that does not hold, if there is one: shown where it was set, or nobody could find and mend it.
    #[must_use]
    pub(crate) fn with_unfit(mut self, unfit: Option<&Unfit>, source: ConfigSource) -> Self {
        if let Some(unfit) = unfit {
            self.value = (!self.is_secret()).then(|| unfit.value.clone());
            self.source = source;
            self.synonyms.insert(0, Synonym { name: self.name.clone(), value: self.value.clone(), source });
            self.unfit = Some(unfit.reason.clone());
        }
        self
    }

    /// DescribeConfigs' code of its type.
    pub fn type_code(&self) -> i8 {
        self.def.map_or(UNKNOWN_TYPE, |def| def.kind.code())
    }

    /// Is its value shown to nobody?
    pub fn is_secret(&self) -> bool {
        self.def.is_some_and(ConfigDef::is_secret)
    }

    /// What clients are told of the setting.
    pub fn documentation(&self) -> String {
        let doc = self.def.map(ConfigDef::documentation).unwrap_or_default();
        match &self.unfit {
            None => doc,
            Some(reason) => format!("The stored value does not hold: {reason}. {doc}").trim_end().to_string(),
        }
    }
}

/// Stored settings whose names nobody knows, as DescribeConfigs answers them.
pub(crate) fn unknown_ones(
    unfit: &BTreeMap<String, Unfit>,
    def_of: fn(&str) -> Option<&'static ConfigDef>,
    source: ConfigSource,
) -> impl Iterator<Item = Described> {
    unfit.iter().filter(move |(name, _)| def_of(name).is_none()).map(move |(name, unfit)| {
        let nothing = Described {
            name: name.clone(),
            def: None,
            value: None,
            source,
            read_only: false,
            synonyms: Vec::new(),
            unfit: None,
        };
        nothing.with_unfit(Some(unfit), source)
    })
}
