//! The name of a table: the only text from outside that gets into a statement.

use std::{error::Error, fmt};

/// In its default form, as the migrations spell it.
const DEFAULT: &str = "session_timeout";
/// So that the names made of it fit into Postgres's 63 bytes.
const LONGEST: usize = 40;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    pub(crate) schema: Option<String>,
    table: String,
}

impl Default for TableName {
    fn default() -> Self {
        Self { schema: None, table: DEFAULT.to_owned() }
    }
}

impl TableName {
    pub(crate) fn new(name: &str, may_have_schema: bool) -> Result<Self, TableNameError> {
        let refuse = |reason| TableNameError { name: name.to_owned(), reason };
        let (schema, table) = match name.split_once('.') {
            Some(_) if !may_have_schema => return Err(refuse("SQLite has no schemas")),
            Some((schema, table)) => (Some(schema), table),
            None => (None, name),
        };
        for part in schema.into_iter().chain([table]) {
            let mut letters = part.bytes();
            if !letters.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_') {
                return Err(refuse("it does not begin with a lower-case letter or `_`"));
            }
            if !letters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
                return Err(refuse("it is not of lower-case letters, digits and `_`"));
            }
            if part.len() > LONGEST {
                return Err(refuse("it is longer than 40 letters"));
            }
        }
        Ok(Self { schema: schema.map(str::to_owned), table: table.to_owned() })
    }

    /// A statement about `{sessions}` and `{owners}`.
    pub(crate) fn fill(&self, statement: &str) -> String {
        let schema = self.schema.as_ref().map_or_else(String::new, |schema| format!("\"{schema}\"."));
        let table = &self.table;
        statement
            .replace("{sessions}", &format!("{schema}\"{table}\""))
            .replace("{owners}", &format!("{schema}\"{table}_owner\""))
    }

    /// A migration, in which names are quoted and have no schema.
    pub(crate) fn rename(&self, migration: &str) -> String {
        migration.replace(&format!("\"{DEFAULT}"), &format!("\"{}", self.table))
    }
}

/// A name that no table of sessions can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableNameError {
    name: String,
    reason: &'static str,
}

impl fmt::Display for TableNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} can be no table of sessions: {}", self.name, self.reason)
    }
}

impl Error for TableNameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_name_gets_into_a_statement() {
        for name in ["a", "_", "session_timeout", "s2", "auth.sessions", &"x".repeat(40)] {
            assert!(TableName::new(name, true).is_ok(), "{name}");
        }
        let bad = [
            "",
            ".",
            "a.",
            ".a",
            "a.b.c",
            "1a",
            "A",
            "a b",
            "a\"",
            "a;",
            "a--",
            "a'",
            "a\0",
            "é",
            "a-b",
            "a\n",
            "a$1",
            "a{sessions}",
            &"x".repeat(41),
        ];
        for name in bad {
            let refused = TableName::new(name, true).unwrap_err().to_string();
            assert!(refused.contains(&format!("{name:?}")), "{refused}");
        }
        assert!(TableName::new("main.a", false).is_err());
    }

    #[test]
    fn a_name_is_everywhere_in_a_migration() {
        let renamed = TableName::new("order", true).unwrap();
        for migration in
            [include_str!("../migrations/postgres.sql"), include_str!("../migrations/sqlite.sql")]
        {
            let text = renamed.rename(migration);
            assert!(!text.contains(DEFAULT), "{text}");
            assert_eq!(text.matches("\"order").count(), migration.matches(DEFAULT).count());
            assert_eq!(TableName::default().rename(migration), migration);
        }
    }
}
