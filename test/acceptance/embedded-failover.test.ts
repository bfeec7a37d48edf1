import { failover } from './failover.js';
import { embedded } from './target.js';

failover(embedded);
