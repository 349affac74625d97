using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Yarnish.NodeAgent.Processes;

/// <summary>The few calls to the C library that .NET has no face for.</summary>
internal static partial class NativeMethods
{
    /// <summary>SIGKILL.</summary>
    public const int Kill = 9;

    /// <summary>SIGTERM.</summary>
    public const int Terminate = 15;

    /// <summary>ENOENT: no such file.</summary>
    public const int NoSuchFile = 2;

    private const int NoSuchProcess = 3;
    private const int FileExists = 17;
    private const int CollapseRange = 8;

    /// <summary>Signals every process of a group. False when the group has no process any more.</summary>
    /// <exception cref="Win32Exception">The agent may not signal it.</exception>
    public static bool SignalGroup(int group, int signal)
    {
        // kill(-1) would mean everybody, kill(0) ourselves.
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(group, 1);
        if (SystemKill(-group, signal) == 0)
        {
            return true;
        }
        var error = Marshal.GetLastPInvokeError();
        return error == NoSuchProcess ? false : throw new Win32Exception(error, $"Signal {signal} could not be sent to process group {group}: {new Win32Exception(error).Message}.");
    }

    /// <summary>Signals one process. False when it is gone.</summary>
    public static bool Signal(int process, int signal)
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(process, 1);
        return SystemKill(process, signal) == 0;
    }

    /// <summary>Makes a second name for a file. Returns 0, or the error number: the two may be on different devices, or the file have too many names.</summary>
    public static int HardLink(string existing, string name) => Link(existing, name) == 0 ? 0 : Marshal.GetLastPInvokeError();

    /// <summary>Whether an error number says that the name is taken.</summary>
    public static bool IsTaken(int error) => error == FileExists;

    /// <summary>Removes the first <paramref name="length"/> bytes of a file, a multiple of its block size, without a moment in which a writer could lose anything.
    /// False where the file system cannot (ext4 and XFS can).</summary>
    public static bool RemoveHead(SafeHandle file, long length) => Allocate(file, CollapseRange, 0, length) == 0;

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int SystemKill(int process, int signal);

    [LibraryImport("libc", EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Link(string existing, string name);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    private static partial int Allocate(SafeHandle file, int mode, long offset, long length);
}
