import { acceptance } from './script.js';
import { embedded } from './target.js';

acceptance(embedded);
