#![doc = include_str!("../README.md")]
//!
//! # The list
//!
//! The crate's own tests run on a simulator, its users run it in a kernel: a difference
//! between the two would make the tests worthless. So each promise of the traits in
//! [`mm_reclaim::env`] that can be seen from outside is a function here, and [`checks`]
//! lists them all. The simulator's tests and the suite in the kernel run the same list.
//!
//! A check gets a [`Rig`]: the environment, frames to use, and a way to be woken. It leaves nothing
//! behind when it succeeds: each frame that it took is freed.
//!
//! Not here: block devices, which differ too much in how they end a transfer. A driver is tested
//! alone with the requests of [`mm_reclaim::block::Bio::for_test`].
#![no_std]
#![forbid(unsafe_code)]

mod frames;
mod tables;
mod tasks;
mod waits;

use core::fmt;
use core::panic::Location;

use mm_reclaim::env::{Env, WaitKey, WaitMode};
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
    /// Runs this function in a task with an address space of its own, which another task kills by
    /// `kill_for_memory` after this time. Returns its result.
    pub kill_during: &'a mut dyn FnMut(Nanos, LastWords<E>) -> Result<(), Broken>,
}

/// What a task does while it is killed. A plain function, which a kernel can pass to another task.
pub type LastWords<E> = fn(&E) -> Result<(), Broken>;

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
pub const COUNT: usize = 29;

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
        ("tables_unlink_gives_what_is_not_needed", tables::unlink_gives_what_is_not_needed),
        ("tables_release_gives_back_every_frame", tables::release_gives_back_every_frame),
        ("tables_spaces_have_different_asids", tables::spaces_have_different_asids),
        ("waits_a_true_condition_does_not_wait", waits::a_true_condition_does_not_wait),
        ("waits_a_true_condition_is_not_asked_again", waits::a_true_condition_is_not_asked_again),
        ("waits_a_wait_times_out", waits::a_wait_times_out),
        (
            "waits_a_condition_counts_more_than_the_time",
            waits::a_condition_counts_more_than_the_time,
        ),
        ("waits_a_wake_during_the_check_is_not_lost", waits::a_wake_during_the_check_is_not_lost),
        ("waits_another_task_ends_a_wait", waits::another_task_ends_a_wait),
        ("waits_a_condition_may_lock_and_wake", waits::a_condition_may_lock_and_wake),
        ("tasks_memalloc_is_set_and_cleared", tasks::memalloc_is_set_and_cleared),
        ("tasks_killing_nobody_harms_nobody", tasks::killing_nobody_harms_nobody),
        ("tasks_a_kill_ends_a_killable_wait", tasks::a_kill_ends_a_killable_wait),
        ("tasks_a_kill_does_not_end_another_wait", tasks::a_kill_does_not_end_another_wait),
        ("tasks_a_condition_counts_more_than_a_kill", tasks::a_condition_counts_more_than_a_kill),
    ]
}

/// A key that nothing else uses: the crate's own keys are small numbers or addresses.
const KEY: WaitKey = WaitKey(0xc0f0_0000_0000_0001);

/// Another one.
const OTHER_KEY: WaitKey = WaitKey(KEY.0 + 1);

/// Long enough to be seen, short enough to be waited for.
const A_WHILE: Nanos = Nanos::from_millis(2);

/// A wait of at most that long.
const fn timed(timeout: Nanos) -> WaitMode {
    WaitMode { timeout: Some(timeout), killable: false }
}

/// Succeeds if the promise is kept.
#[track_caller]
const fn keeps(kept: bool, promise: &'static str) -> Result<(), Broken> {
    if kept { Ok(()) } else { Err(Broken { promise, at: Location::caller() }) }
}
