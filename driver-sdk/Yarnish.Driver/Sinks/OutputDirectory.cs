using System.Globalization;
using System.Runtime.InteropServices;

namespace Yarnish.Sinks;

/// <summary>
/// The driver's side of a directory that is being written: the temporary directory that attempts write to, and the moment in which the files that were taken become the content of the target.
/// <code>
/// parent/_temporary-job/attempts/00003.17     an attempt's file, named by partition and attempt
/// parent/_temporary-job/output/part-00003.txt  taken: renamed here, with _SUCCESS beside it, then the directory becomes the target by one rename
/// </code>
/// Where the target stays as it is (append) or cannot be renamed (a mounted disk, a parent that is not ours), the temporary directory is inside the target, and the files are renamed into it one by
/// one, <c>_SUCCESS</c> last.
/// </summary>
internal sealed partial class OutputDirectory
{
    /// <summary>Begins the names of temporary directories; readers pass over them.</summary>
    public const string TemporaryPrefix = "_temporary-";

    /// <summary>The mark of complete output.</summary>
    public const string SuccessMark = "_SUCCESS";

    private readonly string operation;
    private readonly string target;
    private readonly SaveMode mode;
    // Grows with time; the letter puts it behind the names of numbered parts.
    private readonly string job = "j" + Guid.CreateVersion7().ToString("N");
    private readonly List<string> created = [];
    private string temporary = "";
    private bool inside;

    private OutputDirectory(string operation, string target, SaveMode mode)
    {
        this.operation = operation;
        this.target = target;
        this.mode = mode;
    }

    /// <summary>Where attempts write.</summary>
    public string Attempts => Path.Combine(temporary, "attempts");

    /// <summary>Looks at the target and makes the temporary directory; null when there is nothing to do.</summary>
    /// <exception cref="IOException">The target cannot be written or has content that must stay; nothing was changed.</exception>
    public static OutputDirectory? Open(string operation, string path, SaveMode mode)
    {
        var target = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        if (new DirectoryInfo(target) is { LinkTarget: not null } link)
        {
            target = link.ResolveLinkTarget(returnFinalTarget: true)!.FullName;
        }
        if (File.Exists(target))
        {
            throw new IOException($"{operation}: '{target}' is a file; output is a directory of files. Nothing was written; choose another name.");
        }
        if (Path.GetDirectoryName(target) is null)
        {
            throw new IOException($"{operation}: '{target}' is the root of a file system; choose a directory in it.");
        }
        var output = new OutputDirectory(operation, target, mode);
        try
        {
            if (output.HasContent())
            {
                switch (mode)
                {
                    case SaveMode.ErrorIfExists:
                        throw output.Occupied("Nothing was written; delete it, choose another directory, or another SaveMode.");
                    case SaveMode.Ignore:
                        return null;
                    case SaveMode.Overwrite when Directory.EnumerateDirectories(target).FirstOrDefault(directory => !IsTemporary(directory)) is { } directory:
                        throw new IOException(
                            $"{operation}: '{target}' has directories in it, such as '{Path.GetFileName(directory)}', so it is more than the output of a job, and is not replaced. Nothing was written; delete it yourself, or choose another directory.");
                    case SaveMode.Overwrite or SaveMode.Append:
                        break;
                    default:
                        throw new ArgumentOutOfRangeException(nameof(mode), mode, "No such mode.");
                }
            }
            output.MakeTemporary();
            return output;
        }
        catch (Exception error) when (error is UnauthorizedAccessException or IOException && !error.Message.StartsWith(operation, StringComparison.Ordinal))
        {
            output.Remove();
            throw new IOException($"{operation}: '{target}' cannot be written by {Environment.UserName} on {Environment.MachineName}: {error.Message} Nothing was written.", error);
        }
    }

    /// <summary>Makes the files of the attempts that were taken the content of the target.</summary>
    /// <param name="receipts">File name and length for each partition.</param>
    /// <param name="extension">Ends the names of the files.</param>
    /// <exception cref="IOException">It could not be done; the target is as it was.</exception>
    public void Commit(IReadOnlyList<SinkReceipt> receipts, string extension)
    {
        for (var i = 0; i < receipts.Count; i++)
        {
            var file = new FileInfo(Path.Combine(Attempts, receipts[i].Value));
            if (!file.Exists || file.Length != receipts[i].Bytes)
            {
                throw new IOException(
                    $"{operation}: partition {i} was written to '{file.FullName}' with {receipts[i].Bytes} bytes, but the driver finds {(file.Exists ? $"{file.Length} bytes" : "no such file")}. "
                    + "Output goes to storage that every node and the driver see under the same path.");
            }
        }
        if (inside)
        {
            Merge(receipts, extension);
        }
        else
        {
            Replace(receipts, extension);
        }
        created.Clear();
    }

    /// <summary>Removes what is temporary. Never throws: whatever is left is passed over by readers.</summary>
    public void Remove()
    {
        try
        {
            if (Directory.Exists(temporary))
            {
                // First out of the sight of attempts that still run, so that none adds a file while the directory is emptied.
                if (Directory.Exists(Attempts))
                {
                    Directory.Move(Attempts, Path.Combine(temporary, "removed"));
                }
                Directory.Delete(temporary, recursive: true);
            }
            // Directories that were made for output that never came.
            foreach (var directory in created.Where(Directory.Exists))
            {
                Directory.Delete(directory);
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            System.Diagnostics.Trace.TraceWarning("Yarnish: {0}", error.Message);
        }
    }

    private static bool IsTemporary(string path) => Path.GetFileName(path.AsSpan()).StartsWith(TemporaryPrefix, StringComparison.Ordinal);

    private bool HasContent() => Directory.Exists(target) && Directory.EnumerateFileSystemEntries(target).Any(entry => !IsTemporary(entry));

    private IOException Occupied(string cure) => new($"{operation}: '{target}' exists already and is not empty. {cure}");

    private void MakeTemporary()
    {
        var parent = Path.GetDirectoryName(target)!;
        for (var missing = parent; !Directory.Exists(missing); missing = Path.GetDirectoryName(missing)!)
        {
            created.Add(missing);
        }
        Directory.CreateDirectory(parent);
        var beside = Path.Combine(parent, TemporaryPrefix + job);
        if (!Directory.Exists(target))
        {
            temporary = beside;
            Directory.CreateDirectory(temporary);
        }
        else
        {
            // An empty target in which somebody appends, or did when it was killed, stays as well.
            var shared = !HasContent() && Directory.EnumerateFileSystemEntries(target).Any();
            temporary = Path.Combine(target, TemporaryPrefix + job);
            Directory.CreateDirectory(temporary);
            inside = mode == SaveMode.Append || shared || !TryMove(temporary, beside);
            temporary = inside ? temporary : beside;
        }
        if (mode == SaveMode.Append)
        {
            inside = true;
        }
        Directory.CreateDirectory(Attempts);
    }

    /// <summary>Whether a directory can go from the target to beside it by a rename: then the target itself can be replaced by one.</summary>
    private static bool TryMove(string from, string to)
    {
        try
        {
            Directory.Move(from, to);
            return true;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static string PartName(int partition, string extension) => string.Create(CultureInfo.InvariantCulture, $"part-{partition:D5}{extension}");

    private void Replace(IReadOnlyList<SinkReceipt> receipts, string extension)
    {
        var complete = Path.Combine(temporary, "output");
        Directory.CreateDirectory(complete);
        for (var i = 0; i < receipts.Count; i++)
        {
            File.Move(Path.Combine(Attempts, receipts[i].Value), Path.Combine(complete, PartName(i, extension)));
        }
        File.WriteAllBytes(Path.Combine(complete, SuccessMark), []);
        if (!Directory.Exists(target))
        {
            MoveInto(complete);
        }
        else if (!HasContent())
        {
            Directory.Delete(target);
            MoveInto(complete);
        }
        else if (mode != SaveMode.Overwrite)
        {
            throw Occupied("It was empty when the job began: somebody else wrote it meanwhile, and their content stays.");
        }
        else
        {
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(complete, File.GetUnixFileMode(target));
            }
            Exchange(complete);
        }
    }

    private void MoveInto(string complete)
    {
        try
        {
            Directory.Move(complete, target);
        }
        catch (IOException) when (HasContent())
        {
            throw Occupied("It was empty when the job began: somebody else wrote it meanwhile, and their content stays.");
        }
    }

    /// <summary>Old and new change places. Where the file system cannot do it at once, the old content waits in the temporary directory for the moment between two renames.</summary>
    private void Exchange(string complete)
    {
        if (TryExchange(complete, target))
        {
            return;
        }
        var old = Path.Combine(temporary, "old");
        Directory.Move(target, old);
        try
        {
            Directory.Move(complete, target);
        }
        catch
        {
            Directory.Move(old, target);
            throw;
        }
    }

    private void Merge(IReadOnlyList<SinkReceipt> receipts, string extension)
    {
        Directory.CreateDirectory(target);
        var occupied = HasContent();
        if (occupied && mode is not (SaveMode.Overwrite or SaveMode.Append))
        {
            throw Occupied("It was empty when the job began: somebody else wrote it meanwhile, and their content stays.");
        }
        string[] old = mode == SaveMode.Overwrite ? [.. Directory.EnumerateFiles(target)] : [];
        var mark = Path.Combine(target, SuccessMark);
        var marked = File.Exists(mark);
        var moved = new List<string>(receipts.Count);
        try
        {
            // While it is not complete it does not say that it is.
            File.Delete(mark);
            for (var i = 0; i < receipts.Count; i++)
            {
                // Beside other files the name tells the job: later jobs have later names.
                var path = Path.Combine(target, mode == SaveMode.Append || occupied ? string.Create(CultureInfo.InvariantCulture, $"part-{job}-{i:D5}{extension}") : PartName(i, extension));
                File.Move(Path.Combine(Attempts, receipts[i].Value), path, overwrite: false);
                moved.Add(path);
            }
        }
        catch
        {
            foreach (var path in moved)
            {
                OutputStream.TryDelete(path);
            }
            if (marked)
            {
                File.WriteAllBytes(mark, []);
            }
            throw;
        }
        foreach (var path in old.Where(path => path != mark))
        {
            File.Delete(path);
        }
        File.WriteAllBytes(mark, []);
    }

    /// <summary>Two directories change places at once: Linux, on the file systems that can.</summary>
    private static bool TryExchange(string left, string right)
    {
        if (!OperatingSystem.IsLinux())
        {
            return false;
        }
        try
        {
            return RenameAt2(CurrentDirectory, left, CurrentDirectory, right, RenameExchange) == 0;
        }
        catch (EntryPointNotFoundException)
        {
            return false; // An older C library.
        }
    }

    private const int CurrentDirectory = -100; // AT_FDCWD
    private const uint RenameExchange = 2;

    // https://man7.org/linux/man-pages/man2/rename.2.html
    [LibraryImport("libc", EntryPoint = "renameat2", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int RenameAt2(int oldDirectory, string oldPath, int newDirectory, string newPath, uint flags);
}
