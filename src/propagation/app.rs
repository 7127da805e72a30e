//! Header fields between weir and the application beside it, and its trusted peers.

use http::HeaderName;

/// The field in which a trusted peer asks for variants: `toggle=variant, …`.
pub const X_WEIR_OVERRIDE: HeaderName = HeaderName::from_static("x-weir-override");

/// What the names of the fields begin with that tell an application a decision each.
const APP_PREFIX: &str = "x-weir-toggle-";

/// The name of the field that tells of a toggle: in lower case, with dashes alone, since gateways drop or
/// rename fields with other signs.
#[must_use]
pub fn app_header(toggle: &str) -> String {
    let name = toggle.chars().map(|c| if matches!(c, '_' | '.') { '-' } else { c.to_ascii_lowercase() });
    APP_PREFIX.chars().chain(name).collect()
}

/// Whether only weir may set a field of that name; other signs count as dashes, as CGI and some of its heirs read them.
#[must_use]
pub fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    let same = |reserved: &str| {
        reserved
            .bytes()
            .zip(name)
            .all(|(wanted, byte)| wanted == *byte || wanted == b'-' && !byte.is_ascii_alphanumeric())
    };
    (name.len() >= APP_PREFIX.len() && same(APP_PREFIX))
        || (name.len() == X_WEIR_OVERRIDE.as_str().len() && same(X_WEIR_OVERRIDE.as_str()))
}

/// The wishes of an override field, each `toggle=variant`; what is neither is `None`.
pub fn wishes(field: &[u8]) -> impl Iterator<Item = Option<(&str, &str)>> {
    let wishes = field.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|wish| !wish.is_empty());
    wishes.map(|wish| {
        let (toggle, variant) = std::str::from_utf8(wish).ok()?.split_once('=')?;
        Some((toggle.trim_ascii(), variant.trim_ascii()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_weirs_own_fields_is_known() {
        for (name, reserved) in [
            ("x-weir-toggle-a", true),
            ("x_weir_toggle_a", true),
            ("x-weir_toggle-", true),
            ("x-weir-toggle", false),
            ("x-weir-toggles", false),
            ("x-weir-override", true),
            ("x_weir_override", true),
            ("x.weir!override", true),
            ("x.weir~toggle|a", true),
            ("x-weir-overrides", false),
            ("x-weir-explain", false),
            ("y-weir-toggle-a", false),
            ("x", false),
        ] {
            assert_eq!(is_reserved(&HeaderName::from_static(name)), reserved, "{name}");
        }
        assert!(is_reserved(&HeaderName::try_from(app_header("Orders_v2.1")).unwrap()));
        assert_eq!(app_header("Orders_v2.1"), "x-weir-toggle-orders-v2-1");
    }

    #[test]
    fn wishes_are_read_one_by_one() {
        let read = |text: &'static str| wishes(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(read("a=on, b = off,,"), [Some(("a", "on")), Some(("b", "off"))]);
        assert_eq!(read("a, =, \u{fc}"), [None, Some(("", "")), None]);
        assert_eq!(read(""), []);
    }
}
