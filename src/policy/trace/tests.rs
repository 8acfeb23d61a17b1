use proptest::prelude::*;

use super::*;

const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const IDS: Ids = Ids { trace: [1; 16], span: [2; 8], dial: [3; 8] };

fn headers(parents: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for parent in parents {
        headers.append(TRACEPARENT, HeaderValue::from_str(parent).unwrap());
    }
    headers.insert(TRACESTATE, HeaderValue::from_static("vendor=1"));
    headers
}

fn sampling(sample: f64, parents: Parents) -> Sampling {
    let text = format!("endpoint = \"http://127.0.0.1:4318\"\nsample = {sample:?}");
    let tracing = Tracing { parents, ..toml::from_str(&text).unwrap() };
    Sampling::new(&tracing)
}

#[test]
fn a_context_is_read_as_it_is_written() {
    let context = Context::read(&headers(&[GOOD])).unwrap();
    assert_eq!(text(&context.trace), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!((text(&context.span).as_str(), context.sampled), ("b7ad6b7169203331", true));
    assert_eq!(context.header().unwrap(), GOOD);
    // Of the flags, only the first is known (s3.2.3.4); a later version may say more (s3.2.4).
    let other = GOOD.replace("-01", "-02");
    assert!(!Context::read(&headers(&[&other])).unwrap().sampled);
    for later in [GOOD.replacen("00", "cc", 1), GOOD.replacen("00", "cc", 1) + "-what-the-future-says"] {
        assert_eq!(Context::read(&headers(&[&later])), Some(context), "{later}");
    }
}

#[test]
fn what_is_no_context_goes_no_further() {
    let zero_trace = GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
    let zero_span = GOOD.replace("b7ad6b7169203331", &"0".repeat(16));
    for bad in [
        "",
        "00",
        &GOOD.to_uppercase(),
        &GOOD.replacen("00", "ff", 1),
        &GOOD.replacen("00", "0g", 1),
        &zero_trace,
        &zero_span,
        &GOOD[..54],
        &format!("{GOOD}-more"),
        &format!("{}x", GOOD.replacen("00", "01", 1)),
        &GOOD.replace('-', "_"),
        &format!(" {}", &GOOD[..54]),
    ] {
        let mut all = headers(&[bad]);
        assert_eq!(Context::read(&all), None, "{bad}");
        tidy(&mut all);
        assert!(all.is_empty(), "{bad}");
    }
    let mut twice = headers(&[GOOD, GOOD]);
    tidy(&mut twice);
    assert!(twice.is_empty());
    let mut good = headers(&[GOOD]);
    tidy(&mut good);
    assert_eq!(good, headers(&[GOOD]));
}

#[test]
fn a_parent_that_is_believed_decides_and_its_trace_goes_on() {
    let said = Context::read(&headers(&[GOOD])).unwrap();
    for (sampled, text) in [(true, GOOD.to_owned()), (false, GOOD.replace("-01", "-00"))] {
        for (parents, trusted) in [(Parents::All, false), (Parents::TrustedProxies, true)] {
            // Whatever the share is.
            for share in [0.0, 1.0] {
                let plan = sampling(share, parents).plan(&headers(&[&text]), trusted, IDS);
                assert_eq!(plan.context, Context { trace: said.trace, span: IDS.span, sampled });
                assert_eq!((plan.parent, plan.link), (Some(said.span), None));
                let mut up = headers(&[&text]);
                plan.set(&mut up);
                let expected = Context { trace: said.trace, span: IDS.dial, sampled };
                assert_eq!(Context::read(&up), Some(expected));
                assert_eq!(up[TRACESTATE], "vendor=1");
            }
        }
    }
}

#[test]
fn a_stranger_chooses_neither_the_trace_nor_that_it_is_recorded() {
    let said = Context::read(&headers(&[GOOD])).unwrap();
    for (parents, trusted) in [(Parents::TrustedProxies, false), (Parents::None, false), (Parents::None, true)] {
        let plan = sampling(0.0, parents).plan(&headers(&[GOOD]), trusted, IDS);
        assert_eq!(plan.context, Context { trace: IDS.trace, span: IDS.span, sampled: false });
        assert_eq!((plan.parent, plan.link), (None, Some(said)));
        let mut up = headers(&[GOOD]);
        plan.set(&mut up);
        assert_eq!(Context::read(&up), Some(plan.dial));
        assert!(!up.contains_key(TRACESTATE), "it belongs to the other trace");
        // Nor that it is not.
        let unsampled = GOOD.replace("-01", "-00");
        assert!(sampling(1.0, parents).plan(&headers(&[&unsampled]), trusted, IDS).context.sampled);
    }
    // What is malformed is nobody's.
    let plan = sampling(1.0, Parents::All).plan(&headers(&["nonsense"]), true, IDS);
    assert_eq!((plan.context.trace, plan.parent, plan.link), (IDS.trace, None, None));
}

#[test]
fn a_share_of_the_traces_is_recorded() {
    let recorded = |share: f64| {
        let sampling = sampling(share, Parents::None);
        let ids = (0..=255).map(|first| Ids { trace: [first; 16], ..IDS });
        ids.filter(|ids| sampling.plan(&HeaderMap::new(), false, *ids).context.sampled).count()
    };
    assert_eq!((recorded(0.0), recorded(0.25), recorded(0.5), recorded(1.0)), (0, 64, 128, 256));
}

proptest! {
    #[test]
    fn any_context_is_read_back(trace: [u8; 16], span: [u8; 8], sampled: bool) {
        prop_assume!(trace != [0; 16] && span != [0; 8]);
        let context = Context { trace, span, sampled };
        prop_assert_eq!(Context::parse(context.header().unwrap().as_bytes()), Some(context));
    }

    #[test]
    fn any_bytes_are_a_context_or_none(bytes: Vec<u8>) {
        let _ = Context::parse(&bytes);
    }
}
