/** librbd's options; the form is that of `option-table.ts`. */

export const RBD_OPTIONS = `
rbd_default_pool str advanced rbd
rbd_default_data_pool str advanced -
rbd_default_features str advanced layering,exclusive-lock,object-map,fast-diff,deep-flatten runtime
rbd_op_threads uint advanced 1
rbd_op_thread_timeout uint advanced 60
rbd_disable_zero_copy_writes bool advanced true
rbd_non_blocking_aio bool advanced true
rbd_cache bool advanced true
rbd_cache_policy str advanced writearound enum=writethrough|writeback|writearound
rbd_cache_writethrough_until_flush bool advanced true
rbd_cache_size size advanced 33554432
rbd_cache_max_dirty size advanced 25165824
rbd_cache_target_dirty size advanced 16777216
rbd_cache_max_dirty_age float advanced 1.000000
rbd_cache_max_dirty_object uint advanced 0
rbd_cache_block_writes_upfront bool advanced false
rbd_parent_cache_enabled bool advanced false
rbd_concurrent_management_ops uint advanced 10 min=1
rbd_balance_snap_reads bool advanced false
rbd_localize_snap_reads bool advanced false
rbd_balance_parent_reads bool advanced false
rbd_localize_parent_reads bool advanced false
rbd_sparse_read_threshold_bytes size advanced 65536
rbd_readahead_trigger_requests uint advanced 10
rbd_readahead_max_bytes size advanced 524288
rbd_readahead_disable_after_bytes size advanced 52428800
rbd_clone_copy_on_read bool advanced false
rbd_blocklist_on_break_lock bool advanced true
rbd_blocklist_expire_seconds uint advanced 0
rbd_request_timed_out_seconds uint advanced 30
rbd_skip_partial_discard bool advanced true
rbd_discard_granularity_bytes uint advanced 65536 min=4096 max=33554432
rbd_enable_alloc_hint bool advanced true
rbd_compression_hint str basic none enum=none|compressible|incompressible runtime
rbd_read_from_replica_policy str basic default enum=default|balance|localize runtime
rbd_tracing bool advanced false
rbd_blkin_trace_all bool advanced false
rbd_validate_pool bool advanced true
rbd_validate_names bool advanced true
rbd_invalidate_object_map_on_timeout bool dev true
rbd_auto_exclusive_lock_until_manual_request bool advanced true
rbd_move_to_trash_on_remove bool basic false
rbd_move_to_trash_on_remove_expire_seconds uint basic 0
rbd_move_parent_to_trash_on_remove bool basic false
rbd_mirroring_resync_after_disconnect bool advanced false
rbd_mirroring_delete_delay uint advanced 0
rbd_mirroring_replay_delay uint advanced 0
rbd_mirroring_max_mirroring_snapshots uint advanced 5 min=3
rbd_default_format uint advanced 2
rbd_default_order uint advanced 22
rbd_default_stripe_count uint advanced 0
rbd_default_stripe_unit size advanced 0
rbd_default_map_options str advanced -
rbd_default_clone_format str advanced auto enum=1|2|auto runtime
rbd_journal_order uint advanced 24 min=12 max=26
rbd_journal_splay_width uint advanced 4
rbd_journal_commit_age float advanced 5.000000
rbd_journal_object_writethrough_until_flush bool advanced true
rbd_journal_object_flush_interval uint advanced 0
rbd_journal_object_flush_bytes size advanced 1048576
rbd_journal_object_flush_age float advanced 0.000000
rbd_journal_object_max_in_flight_appends uint advanced 0
rbd_journal_pool str advanced -
rbd_journal_max_payload_bytes size advanced 16384
rbd_journal_max_concurrent_object_sets uint advanced 0
rbd_qos_iops_limit uint advanced 0
rbd_qos_bps_limit uint advanced 0
rbd_qos_read_iops_limit uint advanced 0
rbd_qos_write_iops_limit uint advanced 0
rbd_qos_read_bps_limit uint advanced 0
rbd_qos_write_bps_limit uint advanced 0
rbd_qos_iops_burst uint advanced 0
rbd_qos_bps_burst uint advanced 0
rbd_qos_read_iops_burst uint advanced 0
rbd_qos_write_iops_burst uint advanced 0
rbd_qos_read_bps_burst uint advanced 0
rbd_qos_write_bps_burst uint advanced 0
rbd_qos_iops_burst_seconds uint advanced 1 min=1
rbd_qos_bps_burst_seconds uint advanced 1 min=1
rbd_qos_read_iops_burst_seconds uint advanced 1 min=1
rbd_qos_write_iops_burst_seconds uint advanced 1 min=1
rbd_qos_read_bps_burst_seconds uint advanced 1 min=1
rbd_qos_write_bps_burst_seconds uint advanced 1 min=1
rbd_qos_schedule_tick_min uint advanced 50 min=1
rbd_discard_on_zeroed_write_same bool advanced true
rbd_mtime_update_interval uint advanced 60 min=0
rbd_atime_update_interval uint advanced 60 min=0
rbd_io_scheduler str advanced simple enum=none|simple
rbd_io_scheduler_simple_max_delay uint advanced 0 min=0
rbd_persistent_cache_mode str advanced disabled enum=disabled|rwl|ssd
rbd_persistent_cache_size uint advanced 1073741824 min=1073741824
rbd_persistent_cache_path str advanced /tmp
rbd_quiesce_notification_attempts uint dev 10 min=1
rbd_default_snapshot_quiesce_mode str advanced required enum=required|ignore-error|skip
rbd_plugins str advanced -
rbd_config_pool_override_update_timestamp uint dev 0
`;
