-- A quarantined file may be set aside by a decision: it counts for nothing, and nothing waits for it.

alter table effect_ledger.recon_decisions drop constraint recon_decisions_act_check;
alter table effect_ledger.recon_decisions add constraint recon_decisions_act_check
    check (act in ('override', 'discard', 'match', 'unmatch', 'signoff'));
comment on column effect_ledger.recon_decisions.act is
    'override: a quarantined import counts; discard: it is set aside; match, unmatch: items belong together, or not; signoff: a statement is signed.';

-- Read by whatever shows or counts imports: the newest word on each quarantined one.
create index recon_decisions_on_files on effect_ledger.recon_decisions
    (ledger, (document->>'import'), made_at, id) where act in ('override', 'discard');
drop index effect_ledger.recon_decisions_overriding;
