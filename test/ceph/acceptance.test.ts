// The acceptance script on a cluster of real Ceph daemons.

import { acceptance } from '../acceptance/script.js';
import { real } from './acceptance-target.js';
import { describeCeph } from './support/ceph-cluster.js';

describeCeph('linger', () => acceptance(real));
