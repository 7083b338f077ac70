//! The layers of the source, which `docs/architecture.md` describes: what may use what.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::{
    Attribute, Item, UseTree,
    visit::{self, Visit},
};

/// Each may use those before it.
const LAYERS: [&str; 11] = [
    "clock",
    "rules",
    "event",
    "store",
    "cookie",
    "request",
    "respond",
    "client",
    "rescue",
    "middleware",
    "builder",
];

/// Which modules a file names, as paths from the crate's root.
#[derive(Default)]
struct Named {
    /// The module of the file.
    module: Vec<String>,
    paths: BTreeSet<Vec<String>>,
}

impl Named {
    fn add(&mut self, path: &[String]) {
        let parent = self.module.split_last().map_or(&[][..], |(_, parent)| parent);
        let path = match path.first().map(String::as_str) {
            Some("crate") => path[1..].to_vec(),
            Some("self") => [&self.module, &path[1..]].concat(),
            Some("super") => [parent, &path[1..]].concat(),
            _ => return,
        };
        // `pub(crate)`
        if !path.is_empty() {
            self.paths.insert(path);
        }
    }

    fn add_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&with(path.ident.to_string()), &path.tree),
            UseTree::Name(name) => self.add(&with(name.ident.to_string())),
            UseTree::Rename(rename) => self.add(&with(rename.ident.to_string())),
            UseTree::Glob(_) => self.add(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(before, tree)),
        }
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

impl Visit<'_> for Named {
    fn visit_item(&mut self, item: &Item) {
        match item {
            Item::Mod(module) if is_for_tests(&module.attrs) => {}
            Item::Use(item) => self.add_tree(&[], &item.tree),
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let path: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&path);
    }
}

fn read(folder: &Path, module: &[String], named: &mut BTreeMap<Vec<String>, Named>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let inner = [module, std::slice::from_ref(&name)].concat();
        if path.is_dir() {
            read(&path, &inner, named);
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "lib" {
            let module = if name == "mod" { module.to_vec() } else { inner };
            let file = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
            let mut found = Named { module: module.clone(), ..Named::default() };
            found.visit_file(&file);
            named.insert(module, found);
        }
    }
}

/// Which files each file uses; not its own folder's, whose one idea they share.
fn uses() -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let mut named = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut named);
    let files: BTreeSet<_> = named.keys().cloned().collect();
    let used = |module: &[String], path: &[String]| {
        let used = (1..=path.len()).rev().map(|length| path[..length].to_vec()).find(|of| files.contains(of));
        used.filter(|used| !module.starts_with(used))
    };
    named
        .iter()
        .map(|(module, names)| {
            (module.clone(), names.paths.iter().filter_map(|path| used(module, path)).collect())
        })
        .collect()
}

#[test]
fn each_layer_uses_only_those_below_it() {
    let rank = |module: &[String]| {
        let layer = LAYERS.iter().position(|layer| module[0] == *layer);
        layer.unwrap_or_else(|| panic!("{} is in no layer", module[0]))
    };
    for (module, uses) in uses() {
        for used in uses {
            assert!(rank(&used) <= rank(&module), "{} uses {}", module.join("::"), used.join("::"));
        }
    }
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut uses = uses();
    // Those that use no file that is left are in no circle.
    while let Some(done) = uses.iter().find(|(_, uses)| uses.is_empty()).map(|(module, _)| module.clone()) {
        uses.remove(&done);
        for left in uses.values_mut() {
            left.remove(&done);
        }
    }
    let left = uses.iter().map(|(module, theirs)| {
        let theirs: Vec<_> = theirs.iter().map(|used| used.join("::")).collect();
        format!("{} uses {}", module.join("::"), theirs.join(", "))
    });
    assert_eq!(left.collect::<Vec<_>>(), [""; 0]);
}

/// Who reads a file sees where each name comes from.
#[test]
fn names_are_used_from_the_module_that_owns_them() {
    let mut named = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut named);
    for (module, names) in named.iter().filter(|(module, _)| !module.contains(&"conformance".to_owned())) {
        for path in &names.paths {
            let is_of_a_module = LAYERS.contains(&path[0].as_str());
            assert!(is_of_a_module, "{} uses {} from the crate's root", module.join("::"), path.join("::"));
        }
    }
}

/// So that what is pasted from there is what was run here.
#[test]
fn the_readme_has_the_quick_start_as_the_example_has_it() {
    let example = include_str!("../../examples/quick_start.rs");
    let (_, program) = example.split_once("\n\n").unwrap();
    assert!(include_str!("../../README.md").contains(&format!("```rust,no_run\n{program}```")));
}
