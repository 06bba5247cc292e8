//! The properties of tunnels and proxies.

use gst::prelude::*;

use super::{Change, value_of};
use crate::net::http::HttpSettings;
use crate::net::proxy::Proxy;
use crate::rtsp::url::{Credentials, SchemeTransport, Url};

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Http {
    /// None until it is set; `Ok(None)` for no proxy whatever the environment says.
    proxy: Option<Result<Option<Proxy>, String>>,
    proxy_id: Option<String>,
    proxy_pw: Option<String>,
    ignore_x_server_reply: bool,
    extra_headers: Option<gst::Structure>,
    websocket_path: Option<String>,
}

impl Http {
    /// Sets a property, if it is one of these.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Result<Option<Change>, String> {
        match name {
            "proxy" => {
                self.proxy = value_of::<Option<String>>(value)?.map(|text| match text.as_str() {
                    "" => Ok(None),
                    text => Proxy::parse(text).map(Some),
                });
            }
            "proxy-id" => self.proxy_id = value_of(value)?,
            "proxy-pw" => self.proxy_pw = value_of(value)?,
            "ignore-x-server-reply" => self.ignore_x_server_reply = value_of(value)?,
            "extra-http-request-headers" => {
                let headers: Option<gst::Structure> = value_of(value)?;
                fields(headers.as_ref())?;
                self.extra_headers = headers;
            }
            "websocket-path" => {
                let path: Option<String> = value_of(value)?;
                if path
                    .iter()
                    .any(|p| p.contains(|c: char| !c.is_ascii_graphic()))
                {
                    return Err("websocket-path has blanks or controls".into());
                }
                self.websocket_path = path.filter(|path| !path.is_empty());
            }
            _ => return Ok(None),
        }
        Ok(Some(Change::NextStart))
    }

    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            // Without credentials.
            "proxy" => match &self.proxy {
                Some(Ok(Some(proxy))) => Some(proxy.to_string()),
                Some(Ok(None)) => Some(String::new()),
                Some(Err(_)) | None => None,
            }
            .to_value(),
            "proxy-id" => self.proxy_id.to_value(),
            // A secret is written, never read back.
            "proxy-pw" => None::<String>.to_value(),
            "ignore-x-server-reply" => self.ignore_x_server_reply.to_value(),
            "extra-http-request-headers" => self.extra_headers.to_value(),
            "websocket-path" => self.websocket_path.to_value(),
            _ => return None,
        })
    }

    /// What connections to this URL are told, or what the user is to mend.
    pub fn settings(&self, url: &Url) -> Result<HttpSettings, String> {
        let of_environment = || match url.forced_transport() {
            Some(SchemeTransport::Tunnel | SchemeTransport::WebSocket) => {
                let variable = |name: &str| std::env::var(name).ok();
                Proxy::from_environment(url.host(), url.is_tls(), variable)
            }
            _ => Ok(None),
        };
        let proxy = self.proxy.clone().unwrap_or_else(of_environment);
        let credentials = self.proxy_id.as_ref().map(|user| Credentials {
            user: user.clone(),
            password: self.proxy_pw.clone().unwrap_or_default(),
        });
        Ok(HttpSettings {
            proxy: proxy?.map(|proxy| proxy.with_credentials(credentials)),
            extra_headers: fields(self.extra_headers.as_ref())?,
            ignore_server_address: self.ignore_x_server_reply,
            websocket_path: self.websocket_path.clone(),
            ..HttpSettings::default()
        })
    }
}

/// The header fields that a structure holds.
fn fields(headers: Option<&gst::Structure>) -> Result<Vec<(String, String)>, String> {
    let field = |(name, value): (&glib::GStr, &glib::SendValue)| {
        let wrong = || format!("extra-http-request-headers: {name} is no field of HTTP");
        let text = value.get::<String>().map_err(|_| wrong())?;
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        match name.chars().all(token) && !text.contains(['\r', '\n', '\0']) {
            true => Ok((name.to_string(), text)),
            false => Err(wrong()),
        }
    };
    headers
        .into_iter()
        .flat_map(|h| h.iter())
        .map(field)
        .collect()
}

pub(super) fn properties() -> Vec<glib::ParamSpec> {
    use glib::{ParamSpecBoolean as Bool, ParamSpecString as Text};
    vec![
        Text::builder("proxy")
            .nick("Proxy")
            .blurb("Proxy settings for HTTP tunneling. Format: [http://|socks5://][user:passwd@]host[:port]")
            .build(),
        Text::builder("proxy-id")
            .nick("proxy-id")
            .default_value(Some(""))
            .blurb("HTTP proxy URI user id for authentication")
            .build(),
        Text::builder("proxy-pw")
            .nick("proxy-pw")
            .default_value(Some(""))
            .blurb("HTTP proxy URI user password for authentication; reads back empty")
            .build(),
        Bool::builder("ignore-x-server-reply")
            .nick("Ignore x-server-ip-address")
            .blurb("Whether to ignore the x-server-ip-address server header reply")
            .default_value(false)
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("extra-http-request-headers")
            .nick("Extra HTTP Request Headers")
            .blurb("Extra headers to append to the HTTP requests of tunnels and WebSockets")
            .build(),
        Text::builder("websocket-path")
            .nick("WebSocket Path")
            .blurb("Path of the WebSocket where it is not that of the location, as in /rtsp-over-websocket")
            .build(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(http: &mut Http, name: &str, value: impl ToValue) -> Result<Option<Change>, String> {
        http.set(name, &value.to_value())
    }

    #[test]
    fn a_proxy_is_read_back_without_its_password() {
        let mut http = Http::default();
        let proxy = |http: &Http| http.get("proxy").unwrap().get::<Option<String>>().unwrap();
        set(&mut http, "proxy", "http://me:S3cret@p:3128").unwrap();
        set(&mut http, "proxy-pw", "S3cret").unwrap();
        assert_eq!(proxy(&http).as_deref(), Some("http://p:3128"));
        let password = http.get("proxy-pw").unwrap();
        assert_eq!(password.get::<Option<String>>().unwrap(), None);
        // It must not be gone around.
        let url = Url::parse("rtsp://h/").unwrap();
        set(&mut http, "proxy", "ftp://S3cret@p").unwrap();
        assert_eq!(proxy(&http), None);
        let error = http.settings(&url).unwrap_err();
        assert!(!error.contains("S3cret"), "{error}");
        set(&mut http, "proxy", "").unwrap();
        assert!(http.settings(&url).unwrap().proxy.is_none());
    }

    #[test]
    fn extra_headers_are_fields_of_http() {
        gst::init().unwrap();
        let mut http = Http::default();
        let of = |name: &str, value: &str| gst::Structure::builder("x").field(name, value).build();
        let name = "extra-http-request-headers";
        set(&mut http, name, of("X-Key", "a b")).unwrap();
        let url = Url::parse("rtsph://h/").unwrap();
        let headers = http.settings(&url).unwrap().extra_headers;
        assert_eq!(headers, [("X-Key".to_string(), "a b".to_string())]);
        assert!(set(&mut http, name, of("X-Key", "a\r\nB: c")).is_err());
        let number = gst::Structure::builder("x").field("n", 1i32).build();
        assert!(set(&mut http, name, number).is_err());
    }
}
