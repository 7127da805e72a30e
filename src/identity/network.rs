//! Networks: which addresses are inside.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whether an address is inside one of some networks. One of IPv4 that is written as IPv6 (RFC 4291 §2.5.5.2) is one
/// of IPv4.
#[must_use]
pub fn within(networks: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    networks.iter().any(|network| contains(network, ip))
}

/// Counts the leading bits that are the same, where the library works out both ends of the network first.
fn contains(network: &IpNet, ip: IpAddr) -> bool {
    let (same, prefix) = match (network, ip) {
        (IpNet::V4(network), IpAddr::V4(ip)) => {
            ((network.addr().to_bits() ^ ip.to_bits()).leading_zeros(), network.prefix_len())
        }
        (IpNet::V6(network), IpAddr::V6(ip)) => {
            ((network.addr().to_bits() ^ ip.to_bits()).leading_zeros(), network.prefix_len())
        }
        _ => return false,
    };
    same >= u32::from(prefix)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_of_the_other_family_is_outside_unless_it_is_the_same_one() {
        let networks = ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        for (ip, inside) in [
            ("10.255.0.1", true),
            ("11.0.0.0", false),
            ("::ffff:10.1.2.3", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::a00:1", false),
        ] {
            assert_eq!(within(&networks, ip.parse().unwrap()), inside, "{ip}");
        }
        assert!(within(&["0.0.0.0/0".parse().unwrap()], "255.0.0.1".parse().unwrap()));
        assert!(!within(&["0.0.0.0/0".parse().unwrap()], "ff00::1".parse().unwrap()));
        assert!(!within(&[], "10.0.0.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn inside_is_what_the_library_calls_so(bits: u32, prefix in 0..=32_u8, far in 0..=32_u32, wide: u128, long in 0..=128_u8) {
            let other = bits ^ 1_u32.checked_shl(far).unwrap_or(0);
            let network: IpNet = ipnet::Ipv4Net::new(bits.into(), prefix).unwrap().into();
            let ip = IpAddr::V4(other.into());
            prop_assert_eq!(within(&[network], ip), network.contains(&ip));
            let network: IpNet = ipnet::Ipv6Net::new(wide.into(), long).unwrap().into();
            let ip = IpAddr::V6((wide ^ 1_u128.checked_shl(far * 4).unwrap_or(0)).into()).to_canonical();
            prop_assert_eq!(within(&[network], ip), network.contains(&ip));
        }
    }
}
