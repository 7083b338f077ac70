//! That the tests which documents name as evidence exist, and that no security case is without any.
//!
//! In code spans: `file.rs::test`, of this suite or with a folder; `file.test.mjs: title`, of `tests/browser`, of which `…` ends
//! what is quoted; `tests/run part`; `tests/end_to_end/test_apps.py: test_…`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{LazyLock, Mutex},
};

use syn::visit::Visit;

const DOCUMENTS: [&str; 3] = ["SECURITY.md", "docs/compliance.md", "docs/security-cases.md"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The tests of a file, those that a macro makes included.
#[derive(Default)]
struct Tests(BTreeSet<String>);

impl Visit<'_> for Tests {
    fn visit_item_fn(&mut self, function: &syn::ItemFn) {
        let is_test = |attribute: &syn::Attribute| {
            attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
        };
        if function.attrs.iter().any(is_test) {
            self.0.insert(function.sig.ident.to_string());
        }
    }

    fn visit_item_macro(&mut self, item: &syn::ItemMacro) {
        let tokens = item.mac.tokens.to_string();
        self.0.extend(tokens.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned));
    }
}

fn is_test(file: &str, name: &str) -> bool {
    static READ: LazyLock<Mutex<BTreeMap<String, Tests>>> = LazyLock::new(Mutex::default);
    let path = if file.contains('/') { file.to_owned() } else { format!("tests/suite/{file}") };
    let mut read = READ.lock().unwrap();
    let tests = read.entry(path).or_insert_with_key(|path| {
        let mut tests = Tests::default();
        if let Ok(text) = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)) {
            tests.visit_file(&syn::parse_file(&text).unwrap());
        }
        tests
    });
    tests.0.contains(name)
}

fn is_browser_test(file: &str, title: &str) -> bool {
    let tests = read(&format!("tests/browser/{file}")).replace("\\'", "'");
    let (title, is_whole) = title.strip_suffix('…').map_or((title, true), |begin| (begin, false));
    !title.is_empty()
        && ["'", "\"", "`"].into_iter().any(|quote| {
            let end = if is_whole { quote } else { "" };
            tests.contains(&format!("test({quote}{title}{end}"))
        })
}

/// Whether there is what this code span names, if it is one that names evidence.
fn names_evidence(span: &str) -> Option<bool> {
    if let Some((file, name)) = span.split_once(".rs::") {
        Some(is_test(&format!("{file}.rs"), name))
    } else if let Some((file, title)) = span.split_once(".test.mjs: ") {
        Some(is_browser_test(&format!("{file}.test.mjs"), title))
    } else if let Some((file, scenario)) = span.split_once(".py: ") {
        Some(read(&format!("{file}.py")).contains(&format!("\ndef {scenario}(")))
    } else {
        let part = span.strip_prefix("tests/run ")?;
        Some(read("tests/run").contains(&format!("\n{part}() {{\n")))
    }
}

fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn each_test_that_a_document_names_exists() {
    for document in DOCUMENTS {
        let text = read(document);
        let named: Vec<_> =
            code_spans(&text).filter_map(|span| Some((span, names_evidence(span)?))).collect();
        let missing: Vec<_> = named.iter().filter(|(_, exists)| !exists).map(|(span, _)| span).collect();
        assert!(missing.is_empty(), "{document} names what is not there: {missing:#?}");
        assert!(!named.is_empty(), "{document} names no test at all");
    }
}

/// The rows of a document's tables that begin with such a name, and what stands in their last column.
fn rows<'a>(document: &'a str, prefix: char) -> Vec<(&'a str, &'a str)> {
    let cells = |line: &'a str| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ");
    let is_name = |name: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|number| number.starts_with(|digit: char| digit.is_ascii_digit()))
    };
    let rows = document.lines().filter_map(cells).filter(|(name, _)| is_name(name));
    rows.map(|(name, rest)| (name, rest.rsplit_once(" | ").expect("three columns").1)).collect()
}

#[test]
fn each_case_and_each_promise_has_a_test_or_a_reason_for_none() {
    let (cases, promises) = (read("docs/security-cases.md"), read("SECURITY.md"));
    let cases = rows(&cases, 'T');
    let promises = rows(&promises, 'I');
    let numbers = |rows: &[(&str, &str)]| -> Vec<u32> {
        rows.iter().map(|(name, _)| name[1..].parse().unwrap_or_else(|_| panic!("{name}"))).collect()
    };
    assert_eq!(numbers(&promises), (1..=11).collect::<Vec<_>>());
    let numbers = numbers(&cases);
    assert!(numbers.is_sorted_by(|one, next| one < next), "in order, and once: {numbers:?}");
    assert_eq!((numbers.first(), numbers.last()), (Some(&1), Some(&155)));
    for (name, last) in cases.iter().chain(&promises) {
        let has_test = code_spans(last).any(|span| names_evidence(span) == Some(true));
        assert!(has_test || last.starts_with("None: "), "{name}: {last}");
    }
}

/// Of all files of this suite but those of the page, whose cases have numbers of their own.
#[test]
fn each_case_that_a_test_cites_is_on_the_list() {
    let document = read("docs/security-cases.md");
    let listed: BTreeSet<_> = rows(&document, 'T').into_iter().map(|(name, _)| name.to_owned()).collect();
    let mut unlisted = BTreeMap::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() || path.ends_with("client_endpoints.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let comments = text.lines().filter_map(|line| line.trim_start().strip_prefix("//"));
        let words = comments.flat_map(|comment| comment.split(|c: char| !c.is_ascii_alphanumeric()));
        for word in words {
            let Some(number) = word.strip_prefix('T').and_then(|number| number.parse::<u32>().ok()) else {
                continue;
            };
            if !listed.contains(&format!("T{number:02}")) {
                unlisted.insert(word.to_owned(), path.clone());
            }
        }
    }
    assert!(unlisted.is_empty(), "{unlisted:?}");
}
