/**
 * The options that a monitor knows by name: what whoever runs block devices sets for clients, OSDs and monitors. Facts of
 * Ceph 16.2.15. One a line:
 *
 *     name type level default [min=N] [max=N] [enum=A|B] [daemon=DEFAULT] [flags] [for=SERVICES]
 *
 * `-` is an empty default, `%20` a space in one, and `daemon=` the default of daemons where it differs. What is not here can be set by force.
 */

export const COMMON_OPTIONS = `
admin_socket str advanced - daemon=$run_dir/$cluster-$name.asok startup for=common
log_file str basic - daemon=/var/log/ceph/$cluster-$name.log
log_max_new int advanced 1000
log_max_recent int advanced 500 daemon=10000 min=1
log_to_file bool basic true
log_to_stderr bool basic true daemon=false
err_to_stderr bool basic false daemon=true
log_to_syslog bool basic false
err_to_syslog bool basic false
log_flush_on_exit bool advanced false
log_coarse_timestamps bool advanced true for=common
public_network str advanced - startup for=mon|mds|osd|mgr
cluster_network str advanced - startup for=osd
ms_type str advanced async+posix startup
ms_cluster_mode str basic crc%20secure
ms_service_mode str basic crc%20secure
ms_client_mode str basic crc%20secure
ms_mon_cluster_mode str basic secure%20crc
ms_mon_service_mode str basic secure%20crc
ms_mon_client_mode str basic secure%20crc
auth_client_required str advanced cephx,%20none
ms_tcp_nodelay bool advanced true
ms_tcp_rcvbuf size advanced 0
ms_initial_backoff float advanced 0.200000
ms_max_backoff float advanced 15.000000
ms_crc_data bool dev true
ms_crc_header bool dev true
ms_dispatch_throttle_bytes size advanced 104857600
ms_bind_ipv4 bool advanced true
ms_bind_ipv6 bool advanced false
ms_bind_msgr1 bool advanced true
ms_bind_msgr2 bool advanced true
ms_bind_port_min int advanced 6800
ms_bind_port_max int advanced 7300
ms_connection_ready_timeout uint advanced 10
ms_connection_idle_timeout uint advanced 900
ms_inject_socket_failures uint dev 0
ms_inject_delay_type str dev - runtime
ms_inject_delay_max float dev 1.000000
ms_inject_delay_probability float dev 0.000000
ms_async_op_threads uint advanced 3 min=1 max=24
auth_cluster_required str advanced cephx
auth_service_required str advanced cephx
auth_supported str advanced -
auth_mon_ticket_ttl float advanced 259200.000000
auth_service_ticket_ttl float advanced 3600.000000
auth_allow_insecure_global_id_reclaim bool advanced true
crush_location str advanced -
host str basic - no_mon_update for=common
fsid uuid basic 00000000-0000-0000-0000-000000000000 startup no_mon_update for=common
monmap str advanced - create no_mon_update for=mon
no_config_file bool advanced false startup no_mon_update for=common
key str advanced - startup no_mon_update
keyfile str advanced - startup no_mon_update
keyring str advanced /etc/ceph/$cluster.$name.keyring,/etc/ceph/$cluster.keyring,/etc/ceph/keyring,/etc/ceph/keyring.bin, startup no_mon_update
`;

export const MON_OPTIONS = `
mon_cluster_log_to_stderr bool advanced false runtime for=mon
mon_cluster_log_to_file bool advanced true runtime for=mon
mon_cluster_log_file_level str advanced debug runtime for=mon
mon_osd_cache_size int advanced 500 for=mon
mon_osd_laggy_halflife int advanced 3600 for=mon
mon_osd_adjust_heartbeat_grace bool advanced true for=mon
mon_osd_adjust_down_out_interval bool advanced true for=mon
mon_osd_auto_mark_in bool advanced false for=mon
mon_osd_down_out_interval int advanced 600 for=mon
mon_osd_down_out_subtree_limit str advanced rack runtime for=mon
mon_osd_min_up_ratio float advanced 0.300000 for=mon
mon_osd_min_in_ratio float advanced 0.750000 for=mon
mon_clock_drift_allowed float advanced 0.050000 for=mon
mon_lease float advanced 5.000000 for=mon
mon_pg_stuck_threshold int advanced 60 for=mgr
mon_pg_warn_min_per_osd uint advanced 0 for=mgr
mon_max_pg_per_osd uint advanced 250 min=1 for=mgr
mon_target_pg_per_osd uint advanced 100 min=1
mon_pg_warn_max_object_skew float advanced 10.000000 for=mgr
mon_osd_full_ratio float advanced 0.950000 cluster_create no_mon_update
mon_osd_backfillfull_ratio float advanced 0.900000 cluster_create no_mon_update
mon_osd_nearfull_ratio float advanced 0.850000 cluster_create no_mon_update
mon_allow_pool_delete bool advanced false for=mon
mon_allow_pool_size_one bool advanced false for=mon
mon_osd_report_timeout int advanced 900 for=mon
mon_warn_on_insecure_global_id_reclaim bool advanced true for=mon
mon_warn_on_insecure_global_id_reclaim_allowed bool advanced true for=mon
mon_warn_on_msgr2_not_enabled bool advanced true for=mon
mon_warn_on_pool_no_app bool dev true for=mgr
mon_warn_on_pool_pg_num_not_power_of_two bool dev true for=mon
mon_warn_on_pool_no_redundancy bool advanced true for=mon
mon_warn_on_misplaced bool advanced false for=mgr
mon_warn_on_too_few_osds bool advanced true for=mgr
mon_warn_on_osd_down_out_interval_zero bool advanced true for=mgr
mon_max_osd int advanced 10000 for=mon
mon_data_avail_crit int advanced 5 for=mon
mon_data_avail_warn int advanced 30 for=mon
mon_data_size_warn size advanced 16106127360 for=mon
mon_warn_pg_not_scrubbed_ratio float advanced 0.500000 min=0
mon_warn_pg_not_deep_scrubbed_ratio float advanced 0.750000 min=0
mon_osd_min_down_reporters uint advanced 2 for=mon
mon_osd_reporter_subtree_level str advanced host runtime for=mon
mon_osd_blocklist_default_expire float advanced 3600.000000 for=mon
mon_op_complaint_time secs advanced 30 for=mon
mon_max_snap_prune_per_epoch uint advanced 100 for=mon
mon_max_pool_pg_num uint advanced 65536
mon_client_hunt_interval float advanced 3.000000
mon_client_ping_interval float advanced 10.000000
mon_client_ping_timeout float advanced 30.000000
mon_client_log_interval float advanced 1.000000
mon_host str basic - startup no_mon_update for=common
mon_host_override str advanced - startup no_mon_update for=common
mon_data str advanced /var/lib/ceph/mon/$cluster-$id no_mon_update for=mon
mon_initial_members str advanced - cluster_create no_mon_update for=mon
mon_cache_target_full_warn_ratio float advanced 0.660000 cluster_create no_mon_update for=mgr
mon_osd_initial_require_min_compat_client str advanced luminous cluster_create no_mon_update
`;

export const OSD_OPTIONS = `
osd_max_backfills uint advanced 1 runtime
osd_max_write_size size advanced 90 min=4
osd_max_pgls uint advanced 1024
osd_client_message_size_cap size advanced 524288000
osd_client_message_cap uint advanced 256
osd_crush_chooseleaf_type int dev 1 cluster_create
osd_crush_update_on_start bool advanced true
osd_crush_initial_weight float advanced -1.000000
osd_pool_default_ec_fast_read bool advanced false for=mon
osd_pool_default_crush_rule int advanced -1 for=mon
osd_pool_default_size uint advanced 3 min=0 max=10 runtime for=mon
osd_pool_default_min_size uint advanced 0 min=0 max=255 runtime for=mon
osd_pool_default_pg_num uint advanced 32 runtime for=mon
osd_pool_default_pgp_num uint advanced 0 runtime for=mon
osd_pool_default_type str advanced replicated enum=replicated|erasure runtime for=mon
osd_pool_default_flags int dev 0 for=mon
osd_pool_default_flag_hashpspool bool advanced true for=mon
osd_pool_default_flag_nodelete bool advanced false for=mon
osd_pool_default_flag_nopgchange bool advanced false for=mon
osd_pool_default_flag_nosizechange bool advanced false for=mon
osd_pool_default_pg_autoscale_mode str advanced on enum=off|warn|on runtime
osd_pool_default_read_lease_ratio float dev 0.800000 runtime
osd_op_num_shards int advanced 0 startup
osd_op_num_threads_per_shard int advanced 0 startup
osd_op_queue str advanced wpq enum=wpq|mclock_scheduler|debug_random
osd_op_queue_cut_off str advanced high enum=low|high|debug_random
osd_mclock_profile str advanced high_client_ops enum=balanced|high_recovery_ops|high_client_ops|custom runtime
osd_backfill_scan_min int advanced 64
osd_backfill_scan_max int advanced 512
osd_op_thread_timeout int advanced 15
osd_recovery_sleep float advanced 0.000000 runtime
osd_recovery_sleep_hdd float advanced 0.100000 runtime
osd_recovery_sleep_ssd float advanced 0.000000 runtime
osd_recovery_sleep_hybrid float advanced 0.025000 runtime
osd_snap_trim_sleep float advanced 0.000000 runtime
osd_heartbeat_interval int dev 6 min=1 max=60
osd_heartbeat_grace int advanced 20
osd_heartbeat_min_peers int advanced 10
osd_mon_heartbeat_interval int advanced 30
osd_mon_report_interval int advanced 5
osd_beacon_report_interval int advanced 300
osd_recovery_delay_start float advanced 0.000000
osd_recovery_max_active uint advanced 0 runtime
osd_recovery_max_active_hdd uint advanced 3 runtime
osd_recovery_max_active_ssd uint advanced 10 runtime
osd_recovery_max_single_start uint advanced 1
osd_recovery_max_chunk size advanced 8388608
osd_max_push_cost size advanced 8388608
osd_max_push_objects uint advanced 10
osd_max_scrubs int advanced 1
osd_scrub_during_recovery bool advanced false
osd_scrub_begin_hour int advanced 0 min=0 max=23
osd_scrub_end_hour int advanced 0 min=0 max=23
osd_scrub_begin_week_day int advanced 0 min=0 max=6
osd_scrub_end_week_day int advanced 0 min=0 max=6
osd_scrub_load_threshold float advanced 0.500000
osd_scrub_min_interval float advanced 86400.000000
osd_scrub_max_interval float advanced 604800.000000
osd_scrub_interval_randomize_ratio float advanced 0.500000
osd_scrub_chunk_min int advanced 5
osd_scrub_chunk_max int advanced 25
osd_scrub_sleep float advanced 0.000000 runtime
osd_scrub_auto_repair bool advanced false
osd_scrub_auto_repair_num_errors uint advanced 5
osd_deep_scrub_interval float advanced 604800.000000
osd_deep_scrub_randomize_ratio float advanced 0.150000
osd_deep_scrub_stride size advanced 524288
osd_deep_scrub_keys int advanced 1024
osd_deep_scrub_large_omap_object_key_threshold uint advanced 200000 for=osd
osd_min_pg_log_entries uint dev 250 for=osd
osd_max_pg_log_entries uint dev 10000 for=osd
osd_op_complaint_time float advanced 30.000000
osd_op_history_size uint advanced 20
osd_op_history_duration uint advanced 600
osd_op_history_slow_op_size uint advanced 20
osd_op_history_slow_op_threshold float advanced 10.000000
osd_client_op_priority uint advanced 63
osd_recovery_op_priority uint advanced 3
osd_snap_trim_priority uint advanced 5
osd_scrub_priority uint advanced 5
osd_max_object_size size advanced 134217728
osd_max_object_name_len uint advanced 2048
osd_max_object_namespace_len uint advanced 256
osd_max_attr_size uint advanced 0
osd_max_omap_entries_per_request uint advanced 1024
osd_max_omap_bytes_per_request size advanced 1073741824
osd_objectstore str advanced bluestore enum=bluestore|filestore|memstore|kstore create
osd_memory_target size basic 4294967296 min=939524096 runtime
osd_memory_target_autotune bool advanced false
osd_client_watch_timeout int dev 30 for=mds_client
osd_fast_fail_on_connection_refused bool advanced true
osd_debug_drop_ping_probability float dev 0.000000
osd_pg_log_dups_tracked uint dev 3000 for=osd
bluestore_cache_size size dev 0
bluestore_cache_autotune bool dev true
bluestore_csum_type str advanced crc32c enum=none|crc32c|crc32c_16|crc32c_8|xxhash32|xxhash64 runtime
bluestore_compression_mode str advanced none enum=none|passive|aggressive|force runtime
bluestore_compression_algorithm str advanced snappy enum=|snappy|zlib|zstd|lz4 runtime
lockdep bool dev false startup no_mon_update for=common
daemonize bool advanced false daemon=true startup no_mon_update for=mon|mgr|osd|mds
chdir str advanced - startup no_mon_update for=mon|mgr|osd|mds
mempool_debug bool dev false no_mon_update
osd_data str advanced /var/lib/ceph/osd/$cluster-$id no_mon_update
osd_journal str advanced /var/lib/ceph/osd/$cluster-$id/journal no_mon_update
mgr_data str advanced /var/lib/ceph/mgr/$cluster-$id no_mon_update for=mgr
rgw_data str advanced /var/lib/ceph/radosgw/$cluster-$id no_mon_update for=rgw
mds_data str advanced /var/lib/ceph/mds/$cluster-$id no_mon_update for=mds
fuse_debug bool advanced false startup no_mon_update for=mds_client
`;

export const CLIENT_OPTIONS = `
rados_mon_op_timeout secs advanced 0 min=0 runtime
rados_osd_op_timeout secs advanced 0 min=0 runtime
rados_tracing bool advanced false
client_mount_timeout secs advanced 300 for=mds_client
client_notify_timeout int dev 10 for=mds_client
objecter_tick_interval float dev 5.000000
objecter_timeout float advanced 10.000000
objecter_inflight_op_bytes size advanced 104857600
objecter_inflight_ops uint advanced 1024
objecter_retry_writes_after_first_reply bool dev false
objecter_completion_locks_per_session uint dev 32
client_use_faked_inos bool dev false startup no_mon_update for=mds_client
`;

/** Levels of the log and of what is kept for a crash, by subsystem: `debug_osd 1/5`. */
export const DEBUG_LEVELS = `
asok 1/5, auth 1/5, bdev 1/3, bluefs 1/5, bluestore 1/5, buffer 0/1, cephsqlite 0/5, client 0/5
compressor 1/5, context 0/1, crush 1/1, crypto 1/5, filestore 1/3, finisher 1/1
heartbeatmap 1/5, immutable_obj_cache 0/5, journal 1/3, lockdep 0/1, mgr 2/5, mgrc 1/5, mon 1/5
monc 0/10, ms 0/0, objclass 0/5, objectcacher 0/5, objecter 0/1, optracker 0/5, osd 1/5
paxos 1/5, perfcounter 1/5, prioritycache 1/5, rados 0/5, rbd 0/5, rbd_mirror 0/5, rbd_pwl 0/5
rbd_replay 0/5, refs 0/0, reserver 1/1, rocksdb 4/5, striper 0/1, throttle 1/1, timer 0/1
tp 0/5
`;
