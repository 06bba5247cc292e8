//! From the headers and the SDP of a DESCRIBE response to request URLs.

use std::net::IpAddr;

use super::{Parts, Url, UrlError, clean, is_scheme, split_scheme, split_server, without_fragment};
use crate::rtsp::limits;
use crate::rtsp::message::Headers;

/// How a relative control is joined with its base (RFC 7826 §D.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Base, one `/`, control: what nearly every server expects.
    Append,
    /// The reference resolution of RFC 3986 §5.2.
    Rfc3986,
    /// As `Append`, but a query of the base stays the end.
    BeforeQuery,
    /// As `Append`, but a query of the base is left out, also where the base itself is named.
    WithoutQuery,
}

/// The URL that an `a=control` names. No control, an empty one and `*` name
/// the base itself (RFC 2326 §C.1.1).
pub fn resolve_control(base: &str, control: Option<&str>, join: Join) -> Result<String, UrlError> {
    let base = clean(base)?;
    let base = match join {
        Join::WithoutQuery => base.split_once('?').map_or(base, |(before, _)| before),
        _ => base,
    };
    let (scheme, rest) = split_scheme(base).ok_or(UrlError::NoScheme)?;
    let control = without_fragment(clean(control.unwrap_or_default())?);
    if control.is_empty() || control == "*" {
        return Ok(base.to_string());
    }
    let prefix = control.split_once(':').map(|(scheme, _)| scheme);
    let url = if prefix.is_some_and(is_scheme) {
        absolute(control)?
    } else if control.starts_with("//") {
        return Err(UrlError::NetworkPath);
    } else if join != Join::Rfc3986 {
        let base = without_fragment(base);
        let (base, query) = match base.find('?').filter(|_| join == Join::BeforeQuery) {
            Some(at) => base.split_at_checked(at).unwrap_or((base, "")),
            None => (base, ""),
        };
        let base = base.strip_suffix('/').unwrap_or(base);
        let control = control.strip_prefix('/').unwrap_or(control);
        format!("{base}/{control}{query}")
    } else {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or(UrlError::Authority)?;
        format!(
            "{scheme}://{authority}{}",
            relative(without_fragment(path), control)
        )
    };
    if url.len() > limits::URL {
        Err(UrlError::TooLong)
    } else {
        Ok(url)
    }
}

/// An absolute control as given, but for user information.
fn absolute(url: &str) -> Result<String, UrlError> {
    let (scheme, rest) = split_scheme(url).ok_or(UrlError::Scheme)?;
    if !scheme.eq_ignore_ascii_case("rtsp") && !scheme.eq_ignore_ascii_case("rtsps") {
        return Err(UrlError::Scheme);
    }
    let parts = Parts::split(rest).ok_or(UrlError::Authority)?;
    let rest = match parts.userinfo {
        Some(userinfo) => userinfo.len().checked_add(1).and_then(|at| rest.get(at..)),
        None => Some(rest),
    };
    Ok(format!("{scheme}://{}", rest.unwrap_or_default()))
}

/// Path and query of RFC 3986 §5.2.2 for a reference without authority.
fn relative(base: &str, reference: &str) -> String {
    let (base_path, _) = base.split_once('?').unwrap_or((base, ""));
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let mut url = if path.is_empty() {
        base_path.to_string()
    } else if path.starts_with('/') {
        remove_dot_segments(path)
    } else {
        let (directory, _) = base_path.rsplit_once('/').unwrap_or_default();
        remove_dot_segments(&format!("{directory}/{path}"))
    };
    if let Some(query) = query {
        url.extend(["?", query]);
    }
    url
}

/// RFC 3986 §5.2.4 for a path that begins with `/`.
fn remove_dot_segments(path: &str) -> String {
    let mut segments = Vec::new();
    let mut input = path.split('/').skip(1).peekable();
    while let Some(segment) = input.next() {
        match segment {
            ".." => drop(segments.pop()),
            "." => {}
            _ => segments.push(segment),
        }
        // A dot segment at the end leaves its slash.
        if input.peek().is_none() && matches!(segment, "." | "..") {
            segments.push("");
        }
    }
    segments.iter().flat_map(|segment| ["/", segment]).collect()
}

/// The base of the control values in a DESCRIBE response, and what was odd
/// about it: Content-Base, else Content-Location, else the request URL
/// (RFC 2326 §C.1.1).
pub fn base_url(headers: &Headers, request_uri: &str) -> (String, Option<&'static str>) {
    let mut quirk = None;
    for name in ["Content-Base", "Content-Location"] {
        let Some(value) = headers.get_str(name) else {
            continue;
        };
        let (base, odd) = match base_from_header(&value, request_uri) {
            Some((base, odd)) => (Some(base), odd),
            None => (None, Some("base-url-unusable")),
        };
        quirk = quirk.or(odd);
        if let Some(base) = base {
            return (base, quirk);
        }
    }
    (request_uri.to_string(), quirk)
}

fn base_from_header(value: &str, request_uri: &str) -> Option<(String, Option<&'static str>)> {
    let value = clean(value).ok().filter(|value| !value.is_empty())?;
    if split_scheme(value).is_some() {
        let url = Url::parse(value).ok()?;
        let odd = url.credentials().map(|_| "base-url-with-credentials");
        return Some((url.request_uri().to_string(), odd));
    }
    if names_server(value, request_uri) {
        let (scheme, _) = split_scheme(request_uri)?;
        let url = Url::parse(&format!("{scheme}://{value}")).ok()?;
        return Some((
            url.request_uri().to_string(),
            Some("base-url-without-scheme"),
        ));
    }
    let url = resolve_control(request_uri, Some(value), Join::Rfc3986).ok()?;
    Some((url, Some("base-url-relative")))
}

/// Whether a value without scheme begins with a server, not with a directory:
/// the one that was asked, an address, or anything with a port.
fn names_server(value: &str, request_uri: &str) -> bool {
    let Some(Parts {
        host,
        userinfo,
        is_ipv6,
        port,
        ..
    }) = Parts::split(value)
    else {
        return false;
    };
    let asked = split_scheme(request_uri).and_then(|(_, rest)| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        Some(split_server(rest.get(..end)?)?.0)
    });
    userinfo.is_none()
        && (is_ipv6
            || port.is_some()
            || host.parse::<IpAddr>().is_ok()
            || asked.is_some_and(|asked| asked.eq_ignore_ascii_case(host)))
}
