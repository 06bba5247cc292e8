//! A pipeline written for `rtspsrc` finds what it names, or the README says why not.

use std::collections::BTreeMap;

use gst::prelude::*;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

/// What every object and element has.
const COMMON: [&str; 2] = ["name", "parent"];

/// Defaults that differ, as the README says.
const OTHER_DEFAULTS: [&str; 2] = ["latency", "user-agent"];

fn make(name: &str) -> gst::Element {
    crate::support::init();
    gst::ElementFactory::make(name)
        .build()
        .unwrap_or_else(|error| panic!("{name} is needed for the comparison: {error}"))
}

fn section(heading: &str) -> String {
    let readme = std::fs::read_to_string(README).expect("a README");
    let (_, section) = readme
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("no section {heading}"));
    let end = section.find("\n## ").unwrap_or(section.len());
    section[..end].to_string()
}

/// Names in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Of the rows of the table that follows `before`: the names in the first column, and the second.
fn table(section: &str, before: &str) -> BTreeMap<String, String> {
    let (_, rest) = section
        .split_once(before)
        .unwrap_or_else(|| panic!("no table after {before:?}"));
    let rows = rest
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    let mut names = BTreeMap::new();
    for row in rows {
        let mut columns = row.split('|').skip(1);
        let (first, second) = (columns.next(), columns.next());
        for name in quoted(first.unwrap_or_default()) {
            names.insert(
                name.to_string(),
                second.unwrap_or_default().trim().to_string(),
            );
        }
    }
    names
}

fn missing_properties() -> BTreeMap<String, String> {
    table(
        &section("Differences from rtspsrc"),
        "Properties of `rtspsrc` that are missing:",
    )
}

/// Number and nick of each value of an enumeration.
fn values(ty: glib::Type) -> Vec<(i32, String)> {
    let class = glib::EnumClass::with_type(ty).expect("an enumeration");
    class
        .values()
        .iter()
        .map(|value| (value.value(), value.nick().to_string()))
        .collect()
}

/// Least and greatest value of a number, as text that `rtspsrc`'s must lie within.
fn range(pspec: &glib::ParamSpec) -> Option<(i128, i128)> {
    macro_rules! of {
        ($($kind:ty),*) => {
            $(if let Some(spec) = pspec.downcast_ref::<$kind>() {
                return Some((spec.minimum().into(), spec.maximum().into()));
            })*
        };
    }
    of!(
        glib::ParamSpecInt,
        glib::ParamSpecUInt,
        glib::ParamSpecInt64,
        glib::ParamSpecUInt64
    );
    None
}

#[test]
fn each_property_of_rtspsrc_is_the_same_here_or_its_absence_has_a_reason() {
    let (ours, theirs) = (make("rtspsrc2"), make("rtspsrc"));
    let missing = missing_properties();
    assert!(!missing.is_empty(), "the table is found");
    let mut wrong = Vec::new();
    for theirs in theirs.list_properties().iter() {
        let name = theirs.name();
        let Some(ours) = ours.find_property(name) else {
            match missing.get(name) {
                Some(reason) if !reason.is_empty() => {}
                _ => wrong.push(format!("{name} is neither here nor in the README")),
            }
            continue;
        };
        if COMMON.contains(&name) {
            continue;
        }
        let is_enum = theirs.value_type().is_a(glib::Type::ENUM);
        let same_type = match is_enum {
            true => {
                ours.value_type().is_a(glib::Type::ENUM)
                    && values(ours.value_type()) == values(theirs.value_type())
            }
            false => ours.value_type() == theirs.value_type(),
        };
        if !same_type {
            wrong.push(format!(
                "{name}: {} and {}",
                ours.value_type(),
                theirs.value_type()
            ));
            continue;
        }
        if ours.nick() != theirs.nick() {
            wrong.push(format!(
                "{name}: nick {:?}, not {:?}",
                ours.nick(),
                theirs.nick()
            ));
        }
        if range(&ours) != range(theirs) {
            wrong.push(format!(
                "{name}: {:?}, not {:?}",
                range(&ours),
                range(theirs)
            ));
        }
        let deprecated = |p: &glib::ParamSpec| p.flags().contains(glib::ParamFlags::DEPRECATED);
        if deprecated(&ours) != deprecated(theirs) {
            wrong.push(format!("{name}: deprecated in one only"));
        }
        let default = |p: &glib::ParamSpec| match is_enum {
            true => p
                .default_value()
                .clone()
                .transform_with_type(i32::static_type())
                .map(|value| format!("{value:?}"))
                .unwrap_or_default(),
            // That of every boxed type is NULL.
            false if p.value_type().is_a(glib::Type::BOXED) => String::new(),
            false => format!("{:?}", p.default_value()),
        };
        let same = default(&ours) == default(theirs);
        if same == OTHER_DEFAULTS.contains(&name) {
            wrong.push(format!(
                "{name}: {} and {}",
                default(&ours),
                default(theirs)
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_the_readme_calls_missing_is_missing() {
    let ours = make("rtspsrc2");
    for name in missing_properties().keys() {
        assert!(ours.find_property(name).is_none(), "{name} is here");
    }
    let there = table(&section("Properties"), "stays.");
    for property in ours.list_properties().iter().map(|p| p.name()) {
        let told = there.contains_key(property) || COMMON.contains(&property);
        assert!(told, "{property} is not in the README");
    }
    for name in there.keys() {
        assert!(ours.find_property(name).is_some(), "there is no {name}");
    }
}

#[test]
fn what_may_change_at_once_is_marked_in_the_readme() {
    let section = section("Properties");
    let ours = make("rtspsrc2");
    for property in ours.list_properties().iter() {
        let name = property.name();
        let mutable = property.flags().contains(gst::PARAM_FLAG_MUTABLE_PLAYING);
        let marked = section.contains(&format!("| `{name}` * |"));
        assert_eq!(mutable, marked, "{name}");
    }
}

/// Signals and actions, as `gst-inspect-1.0` lists them.
fn signals_of(element: &str) -> Vec<String> {
    let output = std::process::Command::new("gst-inspect-1.0")
        .args(["--no-colors", element])
        .output()
        .expect("gst-inspect-1.0");
    let text = String::from_utf8_lossy(&output.stdout);
    let name = |line: &str| {
        let (name, _) = line.strip_prefix("  \"")?.split_once("\" :")?;
        Some(name.to_string())
    };
    text.lines().filter_map(name).collect()
}

#[test]
fn each_signal_of_rtspsrc_is_the_same_here_or_named_as_missing() {
    let (ours, theirs) = (make("rtspsrc2").type_(), make("rtspsrc").type_());
    let differences = section("Differences from rtspsrc");
    let (_, missing) = differences
        .split_once("Signals that are missing:")
        .expect("a list of signals");
    let missing = missing.split("\n\n").next().unwrap_or_default();
    let mut count = 0;
    for name in signals_of("rtspsrc") {
        // Those of a bin are no business of ours.
        let Some(theirs) = glib::subclass::SignalId::lookup(&name, theirs) else {
            continue;
        };
        count += 1;
        let (name, theirs) = (name.as_str(), theirs.query());
        match glib::subclass::SignalId::lookup(name, ours) {
            Some(id) => {
                let ours = id.query();
                let types = |query: &glib::subclass::SignalQuery| -> Vec<glib::Type> {
                    let all = query.param_types().iter().copied();
                    all.chain([query.return_type()]).map(Into::into).collect()
                };
                assert_eq!(types(&ours), types(&theirs), "{name}");
                assert!(
                    !quoted(missing).any(|other| other == name),
                    "{name} is here"
                );
            }
            None => assert!(quoted(missing).any(|other| other == name), "{name}"),
        }
    }
    assert!(count > 10, "{count} signals");
}
