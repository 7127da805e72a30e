//! `Keep-Alive`: how long a service says that it keeps an idle connection.

use std::time::Duration;

use http::HeaderValue;

/// How long a connection may be idle after an answer with this field, if it says so: shorter than announced by a
/// second or a quarter, since the request that is sent has to come before the peer closes.
pub(super) fn idle_max(field: &HeaderValue) -> Option<Duration> {
    field.to_str().ok().and_then(announced).map(below)
}

/// The `timeout` of a field, in seconds.
pub(in crate::proxy::upstream) fn announced(field: &str) -> Option<u64> {
    let parameters = field.split(',').filter_map(|parameter| parameter.split_once('='));
    let mut timeouts = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"));
    timeouts.next()?.1.trim().parse().ok()
}

pub(in crate::proxy::upstream) fn below(seconds: u64) -> Duration {
    let announced = Duration::from_secs(seconds);
    announced - (announced / 4).min(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_idle_time_is_read_and_undercut() {
        for (field, seconds) in [
            ("timeout=5", Some(5)),
            ("timeout=5, max=1000", Some(5)),
            ("max=1000, Timeout = 60", Some(60)),
            ("max=5", None),
            ("timeout=x", None),
            ("timeout=-1", None),
            ("", None),
        ] {
            assert_eq!(announced(field), seconds, "{field}");
        }
        for (seconds, millis) in [(0, 0), (1, 750), (2, 1500), (4, 3000), (5, 4000), (60, 59_000)] {
            assert_eq!(below(seconds), Duration::from_millis(millis));
        }
    }
}
