//! Entity tags: whether the caller has this very answer already (RFC 9110 §8.8.3, §13.1.2).

use aws_lc_rs::digest;
use axum::http::{HeaderMap, header, request::Parts};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The tag of an answer: 128 bits of the SHA-256 of all its bytes.
pub(super) fn of(body: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, body);
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]))
}

/// Whether `If-None-Match` holds the tag.
pub(super) fn is_known(tag: &str, head: &Parts) -> bool {
    known(tag, &head.headers)
}

fn known(tag: &str, headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|field| field.to_str().ok());
    // These tags have no comma inside.
    let mut tags = fields.flat_map(|field| field.split(',')).map(str::trim);
    // Compared weakly; some clients send the tag without its quotes.
    tags.any(|known| {
        known == "*" || known.strip_prefix("W/").unwrap_or(known).trim_matches('"') == tag.trim_matches('"')
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_tag_is_known_alone_in_a_list_weakly_and_by_a_star() {
        let tag = of(b"{}");
        assert_ne!(tag, of(b"{ }"));
        let weak = format!("W/{tag}");
        let list = format!("\"a\", {tag} ,\"b\"");
        let bare = tag.trim_matches('"').to_owned();
        for (field, expected) in
            [(&*tag, true), (&weak, true), (&list, true), ("*", true), (&bare, true), ("\"a\"", false), ("", false)]
        {
            let mut headers = HeaderMap::new();
            headers.append(header::IF_NONE_MATCH, HeaderValue::from_static("\"other\""));
            headers.append(header::IF_NONE_MATCH, HeaderValue::from_str(field).unwrap());
            assert_eq!(known(&tag, &headers), expected, "{field}");
        }
        assert!(!known(&tag, &HeaderMap::new()));
    }
}
