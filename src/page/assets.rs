//! Stylesheet, script and logo: built in, under names that change with their content, so that a browser may keep them.

use ring::digest::{SHA256, digest};

use super::text::hex;

const CSS: &str = include_str!("assets/page.css");
const JS: &str = include_str!("assets/page.js");
const LOGO: &str = include_str!("assets/logo.svg");

/// One file.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Its path.
    pub(crate) path: String,
    /// Its content type.
    pub(crate) kind: &'static str,
    /// Its content.
    pub(crate) body: &'static str,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Assets {
    /// The stylesheet.
    pub(crate) css: Asset,
    /// The script.
    pub(crate) js: Asset,
    /// The logo.
    pub(crate) logo: Asset,
}

impl Assets {
    /// Names and contents.
    pub(crate) fn new() -> Self {
        Self {
            css: asset("css", "text/css; charset=utf-8", CSS),
            js: asset("js", "text/javascript; charset=utf-8", JS),
            logo: asset("svg", "image/svg+xml", LOGO),
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> [&Asset; 3] {
        [&self.css, &self.js, &self.logo]
    }

    /// Their paths.
    pub(crate) fn paths(&self) -> [&str; 3] {
        [&self.css.path, &self.js.path, &self.logo.path]
    }
}

fn asset(extension: &str, kind: &'static str, body: &'static str) -> Asset {
    let digest = digest(&SHA256, body.as_bytes());
    let name = hex(&digest.as_ref()[..8]);
    Asset { path: format!("/page.{name}.{extension}"), kind, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_content_and_nothing_is_fetched_from_elsewhere() {
        assert_ne!(asset("css", "", "a").path, asset("css", "", "b").path);
        for asset in Assets::new().all() {
            let body = asset.body.replace("http://www.w3.org/2000/svg", "");
            assert!(!body.contains("://") && !body.contains("@import") && !body.contains("eval("), "{}", asset.path);
        }
    }
}
