//! Reads the text that derived `Debug` writes into a tree, so that structs of two crates can be compared by their
//! fields' names and values.

use std::collections::BTreeMap;
use std::fmt;

/// A value as `Debug` shows it.
#[derive(Clone, PartialEq)]
pub enum Tree {
    /// `Name { field: value, … }`; the name is left out, as two crates name structs differently.
    Struct(BTreeMap<String, Tree>),
    /// `Some(value)`. Any other `Name(value)` is read as the value alone.
    Some(Box<Tree>),
    /// `[value, …]`.
    List(Vec<Tree>),
    /// Numbers, strings, `None`, ids.
    Atom(String),
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tree::Struct(fields) => f.debug_map().entries(fields).finish(),
            Tree::Some(value) => write!(f, "Some({value:?})"),
            Tree::List(values) => f.debug_list().entries(values).finish(),
            Tree::Atom(text) => f.write_str(text),
        }
    }
}

/// Reads the text of one value. `None` if it is not what derived `Debug` writes.
pub fn read(text: &str) -> Option<Tree> {
    let mut reader = Reader { rest: text };
    let tree = reader.value()?;
    reader.rest.trim().is_empty().then_some(tree)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn eat(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> String {
        self.rest = self.rest.trim_start();
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
        let end = self.rest.find(|c: char| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    /// A string with its quotes and escapes, as it stands.
    fn quoted(&mut self) -> Option<String> {
        let mut escaped = false;
        for (at, letter) in self.rest.char_indices().skip(1) {
            match letter {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let (text, rest) = self.rest.split_at(at + 1);
                    self.rest = rest;
                    return Some(text.to_owned());
                }
                _ => {}
            }
        }
        None
    }

    fn value(&mut self) -> Option<Tree> {
        if self.eat("[") {
            return self.list();
        }
        if self.eat("{") {
            // A map with plain keys reads like a struct.
            return self.fields();
        }
        if self.rest.trim_start().starts_with('"') {
            self.rest = self.rest.trim_start();
            return self.quoted().map(Tree::Atom);
        }
        let word = self.word();
        if word == "b" && self.rest.starts_with('"') {
            return self.quoted().map(Tree::Atom);
        }
        if self.eat("{") {
            return self.fields();
        }
        if self.eat("(") {
            let value = self.value()?;
            self.eat(",");
            if !self.eat(")") {
                return None;
            }
            return Some(if word == "Some" { Tree::Some(Box::new(value)) } else { value });
        }
        (!word.is_empty()).then_some(Tree::Atom(word))
    }

    fn list(&mut self) -> Option<Tree> {
        let mut values = Vec::new();
        while !self.eat("]") {
            values.push(self.value()?);
            self.eat(",");
        }
        Some(Tree::List(values))
    }

    fn fields(&mut self) -> Option<Tree> {
        let mut fields = BTreeMap::new();
        while !self.eat("}") {
            let name = self.word();
            if !self.eat(":") {
                return None;
            }
            fields.insert(name, self.value()?);
            self.eat(",");
        }
        Some(Tree::Struct(fields))
    }
}

/// Removes fields by name, at any depth.
pub fn without(tree: Tree, names: &[&str]) -> Tree {
    match tree {
        Tree::Struct(fields) => Tree::Struct(
            fields
                .into_iter()
                .filter(|(name, _)| !names.contains(&name.as_str()))
                .map(|(name, value)| (name, without(value, names)))
                .collect(),
        ),
        Tree::Some(value) => Tree::Some(Box::new(without(*value, names))),
        Tree::List(values) => Tree::List(values.into_iter().map(|value| without(value, names)).collect()),
        atom => atom,
    }
}

/// Rewrites every atom.
pub fn map_atoms(tree: Tree, rewrite: &dyn Fn(String) -> String) -> Tree {
    match tree {
        Tree::Struct(fields) => {
            Tree::Struct(fields.into_iter().map(|(name, value)| (name, map_atoms(value, rewrite))).collect())
        }
        Tree::Some(value) => Tree::Some(Box::new(map_atoms(*value, rewrite))),
        Tree::List(values) => Tree::List(values.into_iter().map(|value| map_atoms(value, rewrite)).collect()),
        Tree::Atom(text) => Tree::Atom(rewrite(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[allow(dead_code)]
    struct Inner(i32);

    #[derive(Debug)]
    #[allow(dead_code)]
    struct Outer {
        number: Inner,
        text: &'static str,
        list: Vec<Option<bool>>,
        nested: Option<Box<Outer>>,
    }

    #[test]
    fn reads_what_debug_writes() {
        let inner = Outer { number: Inner(-1), text: "", list: vec![], nested: None };
        let text = "a \"quote\", {brace} \\";
        let outer = Outer { number: Inner(7), text, list: vec![Some(true), None], nested: Some(Box::new(inner)) };
        for written in [format!("{outer:?}"), format!("{outer:#?}")] {
            let Some(Tree::Struct(fields)) = read(&written) else { panic!("{written}") };
            assert_eq!(fields.len(), 4);
            assert_eq!(fields["number"], Tree::Atom("7".into()));
            assert_eq!(fields["text"], Tree::Atom(format!("{text:?}")));
            let some = Tree::Some(Box::new(Tree::Atom("true".into())));
            assert_eq!(fields["list"], Tree::List(vec![some, Tree::Atom("None".into())]));
            let tree = without(Tree::Struct(fields), &["text", "nested", "number"]);
            assert_eq!(format!("{tree:?}"), r#"{"list": [Some(true), None]}"#);
        }
        assert_eq!(read("Outer { number: "), None);
        assert_eq!(read("1 2"), None);
    }
}
