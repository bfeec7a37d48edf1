// Real OSDs that are killed and come back, empty, while an image is in use.

import { failover } from '../acceptance/failover.js';
import { real } from './acceptance-target.js';
import { describeCeph } from './support/ceph-cluster.js';

describeCeph('linger', () => failover(real));
