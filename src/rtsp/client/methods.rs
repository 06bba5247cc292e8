//! Which methods the server has (RFC 2326 §10.1, §12.4, §12.28).

use crate::rtsp::message::{Headers, Method};
use crate::rtsp::parse::split_list;

/// No server has that many; a list that is longer is cut.
const METHODS: usize = 64;

#[derive(Default)]
pub(super) struct Methods {
    /// None: the server has not said.
    public: Option<Vec<Method>>,
    /// What it refused; with a URL, only there.
    disabled: Vec<(Method, Option<String>)>,
}

impl Methods {
    /// False if it was `Allow` that said it, as some old servers do.
    pub fn learn(&mut self, headers: &Headers) -> bool {
        let public = headers.joined("Public");
        let allow = headers.joined("Allow").filter(|_| public.is_none());
        if let Some(list) = public.or(allow.clone()) {
            self.set_public(&list);
        }
        allow.is_none()
    }

    pub fn set_public(&mut self, list: &str) {
        let methods: Vec<Method> = split_list(list)
            .map(str::trim)
            .filter(|method| !method.is_empty())
            .take(METHODS)
            .map(|method| Method::from(method.to_ascii_uppercase().as_str()))
            .collect();
        // An empty list says nothing.
        self.public = (!methods.is_empty()).then_some(methods);
    }

    /// Whether the server lists the method; None if it gave no list.
    pub fn listed(&self, method: &Method) -> Option<bool> {
        self.public.as_ref().map(|public| public.contains(method))
    }

    /// After 501 a method is never used again, after 405 not at that URL.
    pub fn refused(&mut self, method: &Method, url: &str, status: u16) {
        let entry = match status {
            501 => (method.clone(), None),
            405 => (method.clone(), Some(url.to_string())),
            _ => return,
        };
        if self.disabled.len() < METHODS && !self.disabled.contains(&entry) {
            self.disabled.push(entry);
        }
    }

    pub fn is_disabled(&self, method: &Method, url: &str) -> bool {
        self.disabled
            .iter()
            .any(|(m, u)| m == method && u.as_deref().is_none_or(|u| u == url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: C-OPT-02
    #[test]
    fn lists_are_read_with_blanks_empty_elements_and_repeated_headers() {
        let mut headers = Headers::new();
        headers.push("public", " OPTIONS ,, describe,X_CRUISE");
        headers.push("Public", "PLAY,");
        let mut methods = Methods::default();
        methods.learn(&headers);
        for (method, listed) in [
            (Method::Options, true),
            (Method::Describe, true),
            (Method::Play, true),
            (Method::Extension("X_CRUISE".into()), true),
            (Method::Pause, false),
        ] {
            assert_eq!(methods.listed(&method), Some(listed), "{method}");
        }
    }

    // covers: C-OPT-02
    #[test]
    fn allow_stands_in_for_public_and_no_list_says_nothing() {
        let mut methods = Methods::default();
        methods.learn(&Headers::new());
        assert_eq!(methods.listed(&Method::Pause), None);
        let mut headers = Headers::new();
        headers.push("Public", " , ");
        methods.learn(&headers);
        assert_eq!(methods.listed(&Method::Pause), None);
        let mut headers = Headers::new();
        headers.push("Allow", "PAUSE");
        methods.learn(&headers);
        assert_eq!(methods.listed(&Method::Pause), Some(true));
    }

    // covers: C-OPT-04, C-STAT-08
    #[test]
    fn a_method_is_off_everywhere_after_501_and_at_its_url_after_405() {
        let mut methods = Methods::default();
        methods.refused(&Method::Pause, "a", 405);
        methods.refused(&Method::GetParameter, "a", 501);
        methods.refused(&Method::SetParameter, "a", 500);
        assert!(methods.is_disabled(&Method::Pause, "a"));
        assert!(!methods.is_disabled(&Method::Pause, "b"));
        assert!(methods.is_disabled(&Method::GetParameter, "b"));
        assert!(!methods.is_disabled(&Method::SetParameter, "a"));
    }
}
