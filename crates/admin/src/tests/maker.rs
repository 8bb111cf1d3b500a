use std::collections::BTreeSet;

use expect_test::expect;
use proptest::prelude::*;

use crate::{KeyMaker, is_label};

#[test]
fn a_secret_has_its_shape_and_its_check_digits() {
    let maker = KeyMaker::new([1; 32]);
    let (secret, hash, prefix) = maker.mint("demo-1");
    let text = secret.expose();
    assert_eq!(text.len(), "sk_demo-1_".len() + 43 + 6);
    assert!(KeyMaker::plausible(text) && text.starts_with(&prefix));
    assert_eq!(prefix.len(), "sk_demo-1_".len() + 4);
    assert_eq!(hash, maker.hash(text));
    assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_ne!(hash, KeyMaker::new([2; 32]).hash(text), "another installation has another hash");
}

#[test]
fn no_two_secrets_are_alike() {
    let maker = KeyMaker::new([1; 32]);
    let all: BTreeSet<_> = (0..1_000).map(|_| maker.mint("x").1).collect();
    assert_eq!(all.len(), 1_000);
}

#[test]
fn every_single_typo_is_found() {
    let (secret, _, _) = KeyMaker::new([1; 32]).mint("demo");
    let text = secret.expose();
    for at in 0..text.len() {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
        assert!(!KeyMaker::plausible(std::str::from_utf8(&bytes).unwrap()), "at {at}");
        assert!(!KeyMaker::plausible(&text[..at]), "cut at {at}");
    }
    assert!(!KeyMaker::plausible(&format!("{text}0")) && !KeyMaker::plausible(&format!(" {text}")));
}

#[test]
fn labels_have_their_bounds() {
    for good in ["a", "demo-1", "-", &"x".repeat(32)] {
        assert!(is_label(good), "{good}");
    }
    for bad in ["", "A", "a_b", "ä", "a b", "a\n", &"x".repeat(33)] {
        assert!(!is_label(bad), "{bad:?}");
    }
}

#[test]
fn little_is_shown_of_secrets_from_outside() {
    let shown = ["sk_prod_xxx", "sk_prod_", "hunter2", "", "sk_PROD_0123456789", "ghp_0123456789abcdef"];
    let lines: Vec<_> = shown.map(|secret| format!("{secret:?} -> {}", KeyMaker::prefix(secret))).into();
    expect![[r#"
        "sk_prod_xxx" -> sk_prod_…
        "sk_prod_" -> sk_prod_…
        "hunter2" -> …
        "" -> …
        "sk_PROD_0123456789" -> …
        "ghp_0123456789abcdef" -> …"#]]
    .assert_eq(&lines.join("\n"));
    let long = format!("sk_prod_{}", "a".repeat(43));
    assert_eq!(KeyMaker::prefix(&long), "sk_prod_aaaa");
}

#[test]
fn a_maker_does_not_show_its_pepper() {
    assert_eq!(format!("{:?}", KeyMaker::new([65; 32])), "KeyMaker([redacted])");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(sk_[a-zä]{0,3}_)?\\PC{0,60}") {
        prop_assert!(!KeyMaker::plausible(&text));
        let prefix = KeyMaker::prefix(&text);
        prop_assert!(prefix == "…" || text.starts_with(prefix.trim_end_matches('…')));
        prop_assert_eq!(KeyMaker::new([0; 32]).hash(&text).len(), 64);
    }
}
