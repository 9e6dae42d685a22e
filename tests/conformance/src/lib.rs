//! What every environment of `mm-reclaim` must do.
//!
//! The crate's own tests run on a simulator, its users run it in a kernel: a difference
//! between the two would make the tests worthless. So each promise of the traits in
//! [`mm_reclaim::env`] that can be seen from outside is a function here, and [`checks`]
//! lists them all. The simulator's tests and the suite in the kernel run the same list.
//!
//! A check gets a [`Rig`]: the environment, frames to use, and somebody to wake it. It
//! leaves nothing behind when it succeeds: each frame that it took is given back.
//!
//! Not here: block devices, whose requests only the crate can make, and killing, which
//! needs a task to lose.
#![no_std]
#![forbid(unsafe_code)]

mod frames;
mod tables;
mod tasks;

use core::fmt;
use core::panic::Location;

use mm_reclaim::env::{Env, WaitKey};
use mm_reclaim::units::{Nanos, Pfn};

/// What a check works with.
pub struct Rig<'a, E: Env> {
    /// The environment under test.
    pub env: &'a E,
    /// Gives a zeroed frame.
    pub take: &'a mut dyn FnMut() -> Pfn,
    /// Takes a frame back.
    pub give: &'a mut dyn FnMut(Pfn),
    /// Has another task sleep for that long and then call `wake` with the key.
    pub wake_later: &'a mut dyn FnMut(WaitKey, Nanos),
}

/// A promise that was not kept.
#[derive(Clone, Copy, Debug)]
pub struct Broken {
    /// The promise.
    pub promise: &'static str,
    /// Where it was checked.
    pub at: &'static Location<'static>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not kept: {} ({})", self.promise, self.at)
    }
}

impl core::error::Error for Broken {}

/// One check.
pub type Check<E> = fn(&mut Rig<'_, E>) -> Result<(), Broken>;

/// How many checks there are.
pub const COUNT: usize = 22;

/// Every check and its name.
pub const fn checks<E: Env>() -> [(&'static str, Check<E>); COUNT] {
    [
        ("frames_zero_fills_the_whole_frame_only", frames::zero_fills_the_whole_frame_only),
        ("frames_what_is_written_is_read", frames::what_is_written_is_read),
        ("frames_copy_copies_the_whole_frame", frames::copy_copies_the_whole_frame),
        ("frames_poison_leaves_nothing_readable", frames::poison_leaves_nothing_readable),
        ("tables_begin_empty", tables::begin_empty),
        ("tables_a_missing_table_is_an_error", tables::a_missing_table_is_an_error),
        ("tables_are_installed_level_by_level", tables::are_installed_level_by_level),
        ("tables_every_kind_of_entry_reads_back", tables::every_kind_of_entry_reads_back),
        ("tables_every_mapping_reads_back", tables::every_mapping_reads_back),
        ("tables_an_entry_has_no_effect_on_others", tables::an_entry_has_no_effect_on_others),
        ("tables_replace_returns_the_old_entry", tables::replace_returns_the_old_entry),
        ("tables_young_is_tested_and_cleared", tables::young_is_tested_and_cleared),
        ("tables_mark_accessed_sets_the_flags", tables::mark_accessed_sets_the_flags),
        ("tables_next_entry_crosses_gaps", tables::next_entry_crosses_gaps),
        ("tables_release_gives_back_every_frame", tables::release_gives_back_every_frame),
        ("tables_spaces_have_different_asids", tables::spaces_have_different_asids),
        ("tasks_a_true_condition_does_not_wait", tasks::a_true_condition_does_not_wait),
        ("tasks_a_wait_times_out", tasks::a_wait_times_out),
        ("tasks_a_wake_during_the_check_is_not_lost", tasks::a_wake_during_the_check_is_not_lost),
        ("tasks_another_task_ends_a_wait", tasks::another_task_ends_a_wait),
        ("tasks_memalloc_is_set_and_cleared", tasks::memalloc_is_set_and_cleared),
        ("tasks_killing_nobody_harms_nobody", tasks::killing_nobody_harms_nobody),
    ]
}

/// Succeeds if the promise is kept.
#[track_caller]
const fn keeps(kept: bool, promise: &'static str) -> Result<(), Broken> {
    if kept { Ok(()) } else { Err(Broken { promise, at: Location::caller() }) }
}
