//! What a name looks like.

/// The same for names that people and models take for each other: without case, with `0` as `o`, `1` and `I` as `l`, `rn` as
/// `m`, `vv` as `w`, `-` as `_`, and no `_` twice or at an end. For names of tools, which are ASCII; the idea is that of
/// the skeletons of UTS 39 (section 4), the table is of what remains of it there.
#[must_use]
pub fn look(name: &str) -> String {
    let mut look = String::with_capacity(name.len());
    for c in name.chars() {
        let c = match c {
            '0' => 'o',
            '1' | 'I' | '|' => 'l',
            '-' => '_',
            c => c.to_ascii_lowercase(),
        };
        match (look.chars().last(), c) {
            (Some('r'), 'n') => {
                look.pop();
                look.push('m');
            }
            (Some('v'), 'v') => {
                look.pop();
                look.push('w');
            }
            (None | Some('_'), '_') => {}
            _ => look.push(c),
        }
    }
    look.trim_end_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::look;

    #[test]
    fn names_that_look_alike_look_the_same() {
        for (one, other) in [
            ("fs_read", "fs-read"),
            ("fs_read", "FS_Read"),
            ("list_all", "1ist_aII"),
            ("go_to", "g0_t0"),
            ("modern", "rnodern"),
            ("write", "vvrite"),
            ("fs_read", "fs__read_"),
        ] {
            assert_eq!(look(one), look(other), "{one} {other}");
        }
        for (one, other) in [("fs_read", "fs_reads"), ("get_a", "get_b"), ("read", "fs_read"), ("a1", "a2")] {
            assert_ne!(look(one), look(other), "{one} {other}");
        }
    }
}
