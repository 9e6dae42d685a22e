//! What the references to a page say about its fate (RMAP-04). Pure.
//!
//! Counterpart in Linux: `page_check_references`.

use crate::page::PageType;
use crate::rmap::References;

/// How references decide the fate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ReferenceRule {
    /// One reference keeps, a second one or two mappings activate; anon and file alike.
    SecondChance,
    /// As in Linux 4.x: any referenced anonymous page is activated.
    ActivateAnon,
}

/// What reclaim does with a page after looking at its references.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageReferences {
    /// Continue.
    Reclaim,
    /// Continue if the page is clean.
    ReclaimClean,
    /// Leave it, marked as seen referenced.
    Keep,
    /// To the active list.
    Activate,
}

/// Referenced pages that reclaim passes over in a row. The next one is taken, referenced or not:
/// whoever needs a page waits for so many checks, and not for a sweep over memory in which every
/// page was used lately (CTRL-06).
pub const MOST_PASSED_OVER: u32 = 64;

/// Whether a page is taken although it was referenced, as the `passed_over` ones before it were.
/// Not one of a locked area, nor program text.
pub fn is_overdue(found: References, kind: PageType, passed_over: u32) -> bool {
    let is_text = found.exec && kind == PageType::File;
    passed_over >= MOST_PASSED_OVER && !found.locked && !is_text
}

/// Decides from the mappings' access flags, the page's own mark (which the check has cleared) and
/// its type.
pub fn check_references(
    found: References,
    marked: bool,
    kind: PageType,
    rule: ReferenceRule,
) -> PageReferences {
    use PageReferences::{Activate, Keep, Reclaim, ReclaimClean};
    if found.locked {
        return Reclaim;
    }
    let is_anon = kind == PageType::Anon;
    match found.mappings {
        0 if marked && !is_anon => ReclaimClean,
        0 => Reclaim,
        _ if is_anon && rule == ReferenceRule::ActivateAnon => Activate,
        1 if !marked && (is_anon || !found.exec) => Keep,
        _ => Activate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PageReferences::{Activate, Keep, Reclaim, ReclaimClean};

    /// RMAP-04, SPL-08: the whole table.
    #[test]
    fn references_decide_by_this_table() {
        let found = |mappings, exec, locked| References { mappings, exec, locked };
        let (anon, file) = (PageType::Anon, PageType::File);
        let table = [
            (found(0, false, false), false, anon, Reclaim),
            (found(0, false, false), false, file, Reclaim),
            (found(0, false, false), true, anon, Reclaim),
            (found(0, false, false), true, file, ReclaimClean),
            (found(1, false, false), false, anon, Keep),
            (found(1, false, false), false, file, Keep),
            (found(1, false, false), true, anon, Activate),
            (found(1, false, false), true, file, Activate),
            (found(2, false, false), false, anon, Activate),
            (found(2, false, false), false, file, Activate),
            (found(1, true, false), false, file, Activate),
            (found(1, true, false), false, anon, Keep),
            (found(0, true, false), false, file, Reclaim),
            (found(3, true, true), true, anon, Reclaim),
            (found(3, true, true), true, file, Reclaim),
        ];
        for (references, marked, kind, want) in table {
            let got = check_references(references, marked, kind, ReferenceRule::SecondChance);
            assert_eq!(got, want, "{references:?} marked {marked} {kind:?}");
        }
    }

    /// CTRL-06: after 64 in a row the next one is taken, unless it is locked or program text.
    #[test]
    fn the_page_after_64_referenced_ones_is_taken() {
        let (anon, file) = (PageType::Anon, PageType::File);
        let found = |exec, locked| References { mappings: 1, exec, locked };
        let table = [
            (found(false, false), anon, 63, false),
            (found(false, false), anon, 64, true),
            (found(true, false), anon, 65, true),
            (found(false, false), file, 64, true),
            (found(true, false), file, 64, false),
            (found(false, true), anon, 64, false),
        ];
        for (references, kind, passed_over, want) in table {
            let got = is_overdue(references, kind, passed_over);
            assert_eq!(got, want, "{references:?} {kind:?} after {passed_over}");
        }
    }

    /// RMAP-04: the rule of 4.x differs for anonymous pages only.
    #[test]
    fn the_old_rule_activates_any_referenced_anon_page() {
        let once = References { mappings: 1, exec: false, locked: false };
        let rule = ReferenceRule::ActivateAnon;
        assert_eq!(check_references(once, false, PageType::Anon, rule), Activate);
        assert_eq!(check_references(once, false, PageType::File, rule), Keep);
    }
}
