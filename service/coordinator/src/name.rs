//! How a name becomes a type of its own: names of unlike things do not mix.

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The plain text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// True for the empty text, which is "none" in Kafka's requests.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// The length in bytes.
            pub fn len(&self) -> usize {
                self.0.len()
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(std::sync::Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                $name(std::sync::Arc::from(text))
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(crate) use name;
