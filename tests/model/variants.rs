//! Wrong protocols. Each must violate a property, or the properties prove nothing.

/// What is left out or done wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// settle.lua publishes what is pending for another.
    SettleUnowned,
    /// settle.lua does not ask the ledger.
    SettleWithoutLedger,
    /// settle.lua acknowledges in a step of its own, and then publishes.
    AckBeforePublish,
    /// settle.lua moves the mirror in a step of its own, before the rest.
    MirrorBeforeLedger,
    /// settle.lua publishes in a step of its own, and then writes ledger and pending list.
    PublishBeforeLedger,
    /// claim.lua takes what others renew.
    ClaimFromLiving,
    /// hand_back.lua gives back what is pending for another.
    HandBackUnowned,
    /// What was claimed is not looked up.
    NoLookup,
    /// The mirror says what was delivered.
    MirrorAtDelivered,
    /// The mirror is never lowered.
    MirrorNeverLowered,
    /// adopt.lua makes the group at the end of the stream.
    AdoptAtEnd,
    /// adopt.lua counts everything up to the mirror as verified.
    AdoptForgetsVerified,
    NoJanitor,
    /// janitor.lua trims what was delivered.
    TrimToDelivered,
    /// begin.lua does not raise the fence.
    FenceNotRaised,
    /// The record is held by the fence alone.
    FenceWithoutOwner,
    /// commit.lua does not check the fence.
    CommitUnfenced,
    /// Engine calls are made without a check of the fence.
    EngineUnfenced,
    /// A failed container is removed, and then condemned.
    RemoveBeforeCondemn,
    /// A failed container is removed without being condemned.
    NeverCondemned,
    /// What a failed attempt created and did not start is removed without being condemned.
    LeaveUncondemned,
    /// A fenced attempt removes what it made, whoever has it now.
    DisownBlindly,
    /// abandon.lua does not take the fence from the attempt under way.
    AbandonUnfenced,
    /// An unread job is cancelled, and its entry stays in the stream.
    CancelKeepsEntry,
    /// begin.lua does not ask where the game is placed.
    PlacedAnywhere,
    /// begin.lua answers what a dead host has stored.
    DeadHostsAnswerStands,
    NoReconciler,
    /// The reconciler does not ask the record.
    ReapBlindly,
}
