use proptest::prelude::*;

use super::*;

fn ends(source: &str, destination: &str) -> Ends {
    Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// A header of version 2 with this command, this family, and these bytes behind.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [GREETING_V2, &[command, family], &length, rest].concat()
}

/// What a listener makes of a stream: fed byte by byte, as a connection reads it, with what it would not have taken.
fn fed(stream: &[u8]) -> (Result<Option<Ends>, &'static str>, usize) {
    for seen in 0..=stream.len() {
        match length(&stream[..seen]) {
            Ok(Some(whole)) if whole == seen => return (parse(&stream[..seen]), seen),
            Ok(Some(whole)) => assert!(whole > seen, "it takes more than there is of the header"),
            Ok(None) => {}
            Err(why) => return (Err(why), seen),
        }
    }
    (Err("incomplete"), stream.len())
}

#[test]
fn headers_that_proxies_send_are_read() {
    let v4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x01, 0xbb];
    let v6: Vec<u8> = ["2001:db8::7", "2001:db8::1"]
        .iter()
        .flat_map(|ip| ip.parse::<std::net::Ipv6Addr>().unwrap().octets())
        .chain([0, 80, 1, 187])
        .collect();
    // A TLV of three bytes, NOOP, and one of a type that nobody knows.
    let with_tlvs = [v4, &[4, 0, 3, 1, 2, 3], &[0xee, 0, 0]].concat();
    let of_v4 = Some(ends("192.0.2.1:56324", "198.51.100.7:443"));
    let of_v6 = Some(ends("[2001:db8::7]:80", "[2001:db8::1]:443"));
    let table: &[(Vec<u8>, Option<Ends>)] = &[
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n".to_vec(), of_v4),
        (b"PROXY TCP6 2001:db8::7 2001:DB8:0::1 80 443\r\n".to_vec(), of_v6),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.7 56324 443\r\n".to_vec(), of_v4),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN ffff:f...f:ffff 65535 anything at all\r\n".to_vec(), None),
        (binary(0x21, 0x11, v4), of_v4),
        (binary(0x21, 0x11, &with_tlvs), of_v4),
        (binary(0x21, 0x21, &v6), of_v6),
        (binary(0x20, 0x00, &[]), None),
        // LOCAL, whatever its addresses are.
        (binary(0x20, 0x11, v4), None),
        (binary(0x20, 0x77, &[1]), None),
        (binary(0x21, 0x00, &[]), None),
        (binary(0x21, 0x00, &[1, 2, 3]), None),
        (binary(0x21, 0x31, &[0; 216]), None),
        (binary(0x21, 0x31, &[0; 300]), None),
    ];
    for (header, expected) in table {
        let behind = [header.as_slice(), b"\x16\x03\x01"].concat();
        assert_eq!(fed(&behind), (Ok(*expected), header.len()), "{header:?}");
    }
}

#[test]
fn what_is_no_header_is_refused_by_its_first_wrong_byte_or_its_end() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    let v4 = [0; 12];
    let table: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"PROXYTCP4 192.0.2.1 198.51.100.7 1 2\r\n",
        b"PROXY\tTCP4 192.0.2.1 198.51.100.7 1 2\r\n",
        b"proxy TCP4 192.0.2.1 198.51.100.7 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 1 2\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 +1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 1 65536\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 1\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.1  198.51.100.7 1 2\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.7 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n",
        b"PROXY TCP6 [2001:db8::1] 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n",
        b"PROXY \r\n\r\n\r\n\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\r\n\r\n\r\n",
        long.as_bytes(),
        &binary(0x11, 0x11, &v4),
        &binary(0x22, 0x11, &v4),
        &binary(0x21, 0x13, &v4),
        &binary(0x21, 0x12, &v4),
        &binary(0x21, 0x11, &v4[..11]),
        &binary(0x21, 0x21, &v4),
        &binary(0x21, 0x31, &[0; 215]),
        &binary(0x21, 0x11, &[0; 4081]),
    ];
    for stream in table {
        let (result, taken) = fed(stream);
        assert!(result.is_err_and(|why| why != "incomplete"), "{stream:?}");
        assert!(taken <= stream.len().min(MAX_V2));
    }
    assert_eq!(fed(b"GET").1, 1, "a wrong first byte is enough");
    assert_eq!(fed(&binary(0x21, 0x11, &[0; 4080])).0, Ok(Some(ends("0.0.0.0:0", "0.0.0.0:0"))));
}

#[test]
fn two_families_are_written_as_one() {
    let mixed = ends("192.0.2.1:1", "[2001:db8::1]:2");
    let text = String::from_utf8(header(ProxyVersion::V1, Some(mixed))).unwrap();
    assert_eq!(text, "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n");
    assert_eq!(parse(&header(ProxyVersion::V2, Some(mixed))), Ok(Some(mixed)));
}

#[test]
fn a_check_of_ones_own_names_nobody() {
    assert_eq!(header(ProxyVersion::V1, None), b"PROXY UNKNOWN\r\n");
    assert_eq!(header(ProxyVersion::V2, None), binary(0x20, 0x00, &[]));
}

fn end() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(std::net::IpAddr::from), any::<[u8; 16]>().prop_map(std::net::IpAddr::from)]
        .prop_flat_map(|ip| any::<u16>().prop_map(move |port| SocketAddr::new(ip.to_canonical(), port)))
}

proptest! {
    /// Whatever one gateway writes, another reads, to its last byte and none behind it.
    #[test]
    fn what_is_written_is_read(source in end(), destination in end(), v1 in any::<bool>(), behind in any::<Vec<u8>>()) {
        let ends = Ends { source, destination };
        let header = header(if v1 { ProxyVersion::V1 } else { ProxyVersion::V2 }, Some(ends));
        prop_assert_eq!(fed(&[header.as_slice(), &behind].concat()), (Ok(Some(ends)), header.len()));
    }

    #[test]
    fn no_bytes_make_it_panic_or_take_more_than_its_bound(
        start in prop_oneof![Just(GREETING_V1), Just(GREETING_V2), Just(&b"PROXY TCP4 "[..]), Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..]), Just(&b""[..])],
        rest in prop::collection::vec(any::<u8>(), 0..5000),
    ) {
        let stream = [start, &rest].concat();
        let (_, taken) = fed(&stream);
        prop_assert!(taken <= MAX_V2);
        let _ = parse(&stream);
    }

    /// One byte that is another never makes a good header of version 1 one that takes in what follows.
    #[test]
    fn damage_is_refused_or_stays_within_the_line(at in 0_usize..47, byte in any::<u8>()) {
        let mut stream = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET / HTTP/1.1\r\n\r\n".to_vec();
        stream[at] = byte;
        let (result, taken) = fed(&stream);
        if result.is_ok() {
            prop_assert!(taken <= 45, "{:?} {}", result, taken);
        }
    }
}
