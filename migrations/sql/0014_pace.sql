-- Whether a verification makes way for writers, so that whoever waits for it knows why.

alter table effect_ledger.verifications
    add column makes_way boolean not null default false;
comment on column effect_ledger.verifications.makes_way is
    'Whether it was holding back for writers when it last told how far it was.';
