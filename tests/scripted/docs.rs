//! docs/quirks.md names every quirk that the sources or the scripts name, and every script.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub fn check(folder: &Path, scripts: &[PathBuf]) {
    let root = folder.ancestors().nth(2).expect("the project");
    let page = std::fs::read_to_string(root.join("docs/quirks.md")).expect("docs/quirks.md");
    let mut sources = String::new();
    read(&root.join("src"), &mut sources);
    let mut named = BTreeSet::new();
    for call in ["quirk(", "quirks.push(", "self.warn("] {
        let literals = sources.split(call).skip(1);
        let literals = literals.filter_map(|rest| rest.trim_start().strip_prefix('"'));
        named.extend(literals.filter_map(|rest| Some(rest.split_once('"')?.0)));
    }
    named.retain(|name| name.contains('-') && !name.contains(' '));
    assert!(named.len() > 30, "{named:?}");
    let texts: Vec<String> = scripts
        .iter()
        .map(|file| std::fs::read_to_string(file).expect("a script"))
        .collect();
    for line in texts.iter().flat_map(|text| text.lines()) {
        let names = line.strip_prefix("quirk").map(str::split_whitespace);
        named.extend(names.into_iter().flatten().filter(|name| *name != "s"));
    }
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !page.contains(&format!("| `{name}` |")))
        .collect();
    assert!(missing.is_empty(), "not in docs/quirks.md: {missing:?}");

    let rows = page
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once("` |")?.0));
    let (listed, names): (BTreeSet<_>, BTreeSet<_>) = rows.partition(|name| name.contains('/'));
    let there: BTreeSet<_> = scripts
        .iter()
        .map(|file| crate::name(file).replace("::", "/"))
        .collect();
    let listed: BTreeSet<String> = listed.into_iter().map(String::from).collect();
    assert_eq!(
        listed, there,
        "the scripts in docs/quirks.md and those that are there"
    );
    let unknown: Vec<_> = names
        .iter()
        .filter(|name| !sources.contains(&format!("\"{name}\"")))
        .collect();
    assert!(unknown.is_empty(), "no source names these: {unknown:?}");
}

fn read(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true if path.ends_with("tests") => {}
            true => read(&path, sources),
            false => *sources += &std::fs::read_to_string(&path).expect("a source"),
        }
    }
}
