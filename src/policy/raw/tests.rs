use proptest::prelude::*;

use super::*;

fn look(text: &str) -> Result<Option<Head>, Denial> {
    Scan::default().look(text.as_bytes(), 16 * 1024)
}

fn head(line: &str, headers: &str) -> Result<Option<Head>, Denial> {
    look(&format!("{line}\r\nHost: a\r\n{headers}\r\n"))
}

fn why(result: Result<Option<Head>, Denial>) -> &'static str {
    result.expect_err("it passes").why
}

#[test]
fn a_head_says_where_its_message_ends() {
    let body = |line: &str, headers: &str| head(line, headers).unwrap().unwrap().body;
    assert_eq!(body("GET / HTTP/1.1", ""), Body::Length(0));
    assert_eq!(body("POST / HTTP/1.1", "Content-Length: 0\r\n"), Body::Length(0));
    assert_eq!(body("POST / HTTP/1.1", "content-length:\t 17 \r\n"), Body::Length(17));
    assert_eq!(body("POST / HTTP/1.1", "Transfer-Encoding: Chunked\r\n"), Body::Chunked);
    assert_eq!(body("POST / HTTP/1.0", "Content-Length: 3\r\n"), Body::Length(3));
    let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\nmore";
    assert_eq!(look(text).unwrap().unwrap().len, text.len() - 4);
}

#[test]
fn a_body_of_two_lengths_is_refused() {
    let post = |headers: &str| why(head("POST / HTTP/1.1", headers));
    let both = "Content-Length and Transfer-Encoding";
    assert_eq!(post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"), both);
    assert_eq!(post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), both);
    for headers in ["Content-Length: 4\r\nContent-Length: 4\r\n", "Content-Length: 4\r\ncontent-length: 5\r\n"] {
        assert_eq!(post(headers), "two Content-Length headers");
    }
    for value in ["", "-1", "+4", "4, 4", "4,5", "0x4", "4 4", "4.0", "9999999999999999999", "\u{fc}"] {
        assert_eq!(post(&format!("Content-Length: {value}\r\n")), "a malformed Content-Length", "{value}");
    }
    for value in
        ["", "identity", "gzip, chunked", "chunked, gzip", "chunked, chunked", "xchunked", "chunked;q=1", "\"chunked\""]
    {
        assert_eq!(
            post(&format!("Transfer-Encoding: {value}\r\n")),
            "a Transfer-Encoding other than chunked",
            "{value}"
        );
    }
    assert_eq!(post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), "two Transfer-Encoding headers");
    for name in ["Content_Length", "transfer_encoding", "Transfer_Encoding"] {
        assert_eq!(post(&format!("{name}: 4\r\n")), "a header that some take for the body's length");
    }
    assert_eq!(why(head("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n")), "Transfer-Encoding in HTTP/1.0");
    assert_eq!(head("POST / HTTP/1.0", "").expect_err("no length").status, 411);
}

#[test]
fn lines_end_in_cr_lf_and_nowhere_else() {
    assert_eq!(why(look("GET / HTTP/1.1\nHost: a\n\n")), "a line that ends in a bare LF");
    assert_eq!(why(look("GET / HTTP/1.1\r\nHost: a\n")), "a line that ends in a bare LF");
    assert_eq!(why(look("GET / HTTP/1.1\r\nHost: a\r\n\n")), "a line that ends in a bare LF");
    assert_eq!(why(look("\nGET / HTTP/1.1\r\n")), "a line that ends in a bare LF");
    assert_eq!(why(look("GET / HTTP/1.1\r\nX: a\rY: b\r\n")), "a bare CR");
    assert_eq!(why(look("GET / HTTP/1.1\r\r\n")), "a bare CR");
    for control in ["\0", "\x01", "\x0b", "\x1b", "\x7f"] {
        assert_eq!(why(head("GET / HTTP/1.1", &format!("X: a{control}b\r\n"))), "a control character in the head");
        assert_eq!(why(look(&format!("GET /{control}"))), "not HTTP/1.1", "said at once");
    }
}

#[test]
fn a_header_is_a_name_a_colon_and_a_value_on_one_line() {
    let get = |headers: &str| why(head("GET / HTTP/1.1", headers));
    for fold in [" ", "\t"] {
        assert_eq!(get(&format!("X: a\r\n{fold}b\r\n")), "a header that goes on in the next line");
    }
    assert_eq!(get("X : a\r\n"), "a space before the colon of a header");
    assert_eq!(get("Content-Length\t: 4\r\n"), "a space before the colon of a header");
    assert_eq!(get("X\r\n"), "a header without a colon");
    for name in ["", "a b", "a(", "\u{fc}", "a@b"] {
        assert_eq!(get(&format!("{name}: a\r\n")), "a header whose name is none", "{name}");
    }
    assert_eq!(get("Host: b\r\n"), "two Host headers");
    assert!(head("GET / HTTP/1.1", "X:\r\nY: \u{fc}\tb\r\n").is_ok());
}

#[test]
fn a_request_line_is_three_parts_with_one_space_between() {
    let lines = [
        "GET /  HTTP/1.1",
        "GET  / HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "GET /a\tb HTTP/1.1",
        "GET /",
        "GET / HTTP/2.0",
        "GET / HTTP/1.2",
        "GET / http/1.1",
        "G(T / HTTP/1.1",
        "SSH-2.0-OpenSSH_9",
        "",
    ];
    for first in ["\x16\x03\x01", "\u{81}", "GET /\u{fc}", "\t"] {
        assert_eq!(why(look(first)), "not HTTP/1.1", "{first:?}");
    }
    for line in lines {
        // Said as soon as the line is there.
        assert_eq!(why(look(&format!("{line}\r\n"))), "not HTTP/1.1", "{line}");
    }
}

#[test]
fn a_head_is_bounded_in_bytes_and_lines() {
    let head = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100));
    let scan = |most| Scan::default().look(head.as_bytes(), most);
    assert!(scan(head.len()).is_ok());
    assert_eq!(scan(head.len() - 1).expect_err("too large").status, 431);
    // Before it is whole, too.
    assert_eq!(Scan::default().look(&head.as_bytes()[..50], 50).expect_err("too large").status, 431);
    let lines = |count: usize| look(&format!("GET / HTTP/1.1\r\n{}\r\n", "X: a\r\n".repeat(count)));
    assert!(lines(100).is_ok());
    assert_eq!(lines(101).expect_err("too many").status, 431);
}

proptest! {
    #[test]
    fn a_head_that_comes_in_pieces_is_judged_as_one_that_comes_whole(
        text in "GET / HTTP/1\\.1\r\n(Host: a\r\n|X : b\r\n| c\r\n|Content-Length: 4\r\n|Transfer-Encoding: chunked\r\n|x\n){0,4}\r\n.{0,5}",
        cuts in prop::collection::vec(0usize..120, 0..5),
    ) {
        let bytes = text.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut scan = Scan::default();
        let mut last = Ok(None);
        for cut in cuts {
            last = scan.look(&bytes[..cut], 4096);
            if !matches!(last, Ok(None)) {
                break;
            }
        }
        prop_assert_eq!(last, look(&text));
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Scan::default().look(&bytes, 150);
    }
}
