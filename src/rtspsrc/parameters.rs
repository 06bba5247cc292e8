//! The actions `get-parameter`, `get-parameters` and `set-parameter`.

use glib::prelude::*;
use glib::subclass::Signal;
use gst::subclass::prelude::*;

use super::RtspSrc2;
use crate::session::ParameterRequest;

const CONTENT_TYPE: &str = "text/parameters";

/// Three actions that take a promise; false if nothing was asked, and then nobody answers it.
pub(super) fn actions() -> [Signal; 3] {
    let (text, promise) = (String::static_type(), gst::Promise::static_type());
    let action = |name: &'static str, types: Vec<glib::Type>| {
        Signal::builder(name)
            .param_types(types)
            .return_type::<bool>()
            .run_last()
            .action()
    };
    [
        action("get-parameter", vec![text, text, promise])
            .class_handler(|args| {
                let name = args.get(1)?.get::<String>().ok();
                Some(ask(args, get(name.into_iter().collect()), false).to_value())
            })
            .build(),
        action(
            "get-parameters",
            vec![Vec::<String>::static_type(), text, promise],
        )
        .class_handler(|args| {
            let names = args.get(1)?.get::<Vec<String>>().unwrap_or_default();
            Some(ask(args, get(names), false).to_value())
        })
        .build(),
        action("set-parameter", vec![text, text, text, promise])
            .class_handler(|args| {
                let text = |at: usize| args.get(at).and_then(|arg| arg.get::<String>().ok());
                let body = text(1)
                    .zip(text(2))
                    .and_then(|(name, value)| set(&name, &value));
                Some(ask(args, body, true).to_value())
            })
            .build(),
    ]
}

/// What cannot be a name or a value in `text/parameters` would be another parameter.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn get(names: Vec<String>) -> Option<String> {
    let valid = !names.is_empty() && names.iter().all(|name| is_name(name));
    valid.then(|| names.iter().map(|name| format!("{name}:\r\n")).collect())
}

fn set(name: &str, value: &str) -> Option<String> {
    let valid = is_name(name) && !value.contains(char::is_control);
    valid.then(|| format!("{name}: {value}\r\n"))
}

/// The last two arguments of each action are content type and promise.
fn ask(args: &[glib::Value], body: Option<String>, set: bool) -> bool {
    let Some([content_type, promise]) = args.last_chunk() else {
        return false;
    };
    let element = args.first().and_then(|arg| arg.get::<RtspSrc2>().ok());
    let content_type = content_type.get::<Option<String>>().ok().flatten();
    let content_type = content_type.unwrap_or_else(|| CONTENT_TYPE.into());
    let (Some(element), Some(body), Ok(promise)) = (element, body, promise.get::<gst::Promise>())
    else {
        return false;
    };
    if content_type.is_empty() || content_type.contains(char::is_control) {
        return false;
    }
    element.imp().session().is_some_and(|session| {
        session.parameters(ParameterRequest {
            set,
            content_type,
            body: body.into_bytes(),
            promise,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_one_line_each() {
        let names = |names: &[&str]| get(names.iter().map(|name| name.to_string()).collect());
        assert_eq!(names(&["a", "b"]).as_deref(), Some("a:\r\nb:\r\n"));
        for wrong in [&[][..], &[""], &["a b"], &["a\r\nb"], &["a", "\t"]] {
            assert_eq!(names(wrong), None, "{wrong:?}");
        }
        assert_eq!(set("a", "1 2").as_deref(), Some("a: 1 2\r\n"));
        assert_eq!(set("a", "1\r\nb: 2"), None);
        assert_eq!(set("a b", "1"), None);
    }
}
