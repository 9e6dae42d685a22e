//! Rust text without its comments and literals.
//!
//! Rules about code must not be misled by prose: this blanks out comments and the insides
//! of string and character literals, and keeps every line where it was.

/// `text` with comments and the insides of literals replaced by blanks.
pub fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = skip(bytes, at);
        if end > at {
            blank(&mut out[at..end]);
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// The end of the comment or literal that begins at `at`; `at` if none does.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let inside_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let length = if rest.starts_with(b"//") {
        find(rest, b"\n")
    } else if rest.starts_with(b"/*") {
        block_comment(rest)
    } else if rest[0] == b'"' {
        quoted(rest, b'"')
    } else if rest[0] == b'r' && !inside_word {
        raw_string(rest)
    } else if rest[0] == b'\'' && is_char(rest) {
        quoted(rest, b'\'')
    } else {
        0
    };
    at + length
}

/// The position of `needle`, or the end.
fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle).unwrap_or(bytes.len())
}

/// Rust's block comments nest.
fn block_comment(bytes: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `r"…"` or `r#"…"#`; 0 if the `r` is only a letter.
fn raw_string(bytes: &[u8]) -> usize {
    let hashes = bytes[1..].iter().take_while(|&&byte| byte == b'#').count();
    if bytes.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let start = 2 + hashes;
    (start + find(&bytes[start..], &end) + end.len()).min(bytes.len())
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn is_char(bytes: &[u8]) -> bool {
    match bytes {
        [_, b'\\', ..] => true,
        [_, first, rest @ ..] => {
            let more = match first {
                0xc0..=0xdf => 1,
                0xe0..=0xef => 2,
                0xf0.. => 3,
                _ => 0,
            };
            rest.get(more) == Some(&b'\'')
        }
        _ => false,
    }
}

/// `text` without the module that follows a `#[cfg(test)]`, up to the end of the file: tests may
/// import what they like.
pub fn without_tests(text: &str) -> &str {
    let mut from = 0;
    while let Some(found) = text[from..].find("#[cfg(test)]") {
        let at = from + found;
        let mut after = text[at..].lines().skip(1).map(str::trim);
        let item = after.find(|line| !line.is_empty() && !line.starts_with("#["));
        if item.is_some_and(|item| item.starts_with("mod ") && item.ends_with('{')) {
            return &text[..at];
        }
        from = at + 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_lines_stay() {
        let text = "a // x\n/* y /* z */ */ b\n\"w\\\"\" c r#\"v\" \"# d 'u' '\\'' e<'f> for";
        let code = code_only(text);
        let words: Vec<&str> = code.split_whitespace().collect();
        assert_eq!(words, ["a", "b", "c", "d", "e<'f>", "for"]);
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn a_test_module_is_cut_off_and_a_test_import_is_not() {
        let text = "a\n#[cfg(test)]\nuse b;\nc\n#[cfg(test)]\nmod tests {\nd\n}\n";
        assert_eq!(without_tests(text), "a\n#[cfg(test)]\nuse b;\nc\n");
        assert_eq!(without_tests("#[cfg(test)]\nmod tests;\na"), "#[cfg(test)]\nmod tests;\na");
    }
}
